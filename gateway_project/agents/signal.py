"""The abort signal: how an agent learns that nobody waits for it any more, and why."""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("gateway.run")


class AbortSignal:
    """Set once, by whoever owns the run, before the agent meets the cancellation of its task.

    An agent need not look at it: its task is cancelled too. It is for work that cancellation does not
    reach (a thread, a subprocess, an engine of its own), and to tell the cause.
    """

    def __init__(self) -> None:
        self._cause: str | None = None
        self._callbacks: list[Callable[[str], None]] = []
        self._event: asyncio.Event | None = None

    @property
    def aborted(self) -> bool:
        """Whether the run was aborted."""
        return self._cause is not None

    @property
    def cause(self) -> str | None:
        """Why: a value of the vocabulary's abort causes, e.g. ``client_disconnect``."""
        return self._cause

    def on_abort(self, callback: Callable[[str], None]) -> None:
        """Call `callback(cause)` at the abort, in the event loop; at once if it has happened."""
        if self._cause is not None:
            _call(callback, self._cause)
        else:
            self._callbacks.append(callback)

    async def wait(self) -> str:
        """Wait for the abort and return its cause."""
        if self._cause is None:
            self._event = self._event or asyncio.Event()
            await self._event.wait()
        assert self._cause is not None
        return self._cause

    def set(self, cause: str) -> None:
        """Tell everybody. Only the first cause counts."""
        if self._cause is not None:
            return
        self._cause = cause
        if self._event is not None:
            self._event.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _call(callback, cause)


def _call(callback: Callable[[str], None], cause: str) -> None:
    """Call foreign code: what it raises must not keep the abort from going on.

    `CancelledError` too, as of a future that is asked for its result: it would end whoever aborts, not the agent.
    """
    try:
        callback(cause)
    except KeyboardInterrupt:
        raise
    except BaseException:
        logger.exception("run.abort_callback_failed", extra={"cause": cause})
