"""The lifespan protocol, by which servers other than daphne tell that they begin and end (ASGI, Lifespan)."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import FrameType
from typing import Any

from gateway_project.execution.supervisor import current_supervisor, running_supervisor
from gateway_project.transport.connection import ASGIReceive, ASGISend

logger = logging.getLogger("gateway.lifespan")

Message = Mapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

_CLOSE_SECONDS = 5.0


async def serve_lifespan(
    application: Application, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
) -> None:
    """Begin and end the process's runs with the server, around the lifespan of an inner `application`.

    The inner application begins first and ends last: agents may use what it holds. One that has no lifespan
    is answered for.
    """
    inner = _InnerLifespan(application, scope)
    drain = _Drain()
    try:
        await receive()
        answer = await inner.tell("startup")
        if answer["type"] == "lifespan.startup.failed":
            await send(answer)
            return
        current_supervisor()
        drain.listen()
        await send(answer)
        await receive()
        await drain.finish()
        answer = await inner.tell("shutdown")
        await inner.close()
        await send(answer)  # The last thing: hypercorn cancels us then, and takes it amiss if we are not done.
    finally:
        drain.leave()
        await inner.close()


class _InnerLifespan:
    """The inner application's lifespan, in a task of its own: it may well wait while the server goes on with us.

    An application without one raises at such a scope, or returns; that is its right, and the server goes on.
    """

    def __init__(self, application: Application, scope: MutableMapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message] = loop.create_future()
        self._has_begun = False
        self._failure: str | None = None
        self._task = loop.create_task(self._run(application, scope), name="gateway:lifespan")

    async def tell(self, phase: str) -> Message:
        """Tell it of a phase (``startup`` or ``shutdown``) and return its answer, or the one it has no words for."""
        self._answer = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": f"lifespan.{phase}"})
        either: set[asyncio.Future[Any]] = {self._task, self._answer}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            self._has_begun = True
            return self._answer.result()
        if self._failure is not None:
            return {"type": f"lifespan.{phase}.failed", "message": self._failure}
        return {"type": f"lifespan.{phase}.complete"}

    async def close(self) -> None:
        """End its task, if it has not ended yet."""
        if self._task.cancel():
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def _run(self, application: Application, scope: MutableMapping[str, Any]) -> None:
        try:
            await application(scope, self._messages.get, self._take)
        except Exception as error:
            if not self._has_begun and not self._answer.done():
                logger.debug("lifespan.unknown_to_application", exc_info=True)
                return
            logger.exception("lifespan.failed")
            self._failure = repr(error)

    async def _take(self, message: Message) -> None:
        if not self._answer.done():
            self._answer.set_result(message)


class _Drain:
    """Ends the runs, from the first signal that tells the server to end.

    ``lifespan.shutdown`` comes only when every request has ended by itself (uvicorn, hypercorn; fact 4): a long
    run would hold the process up for its whole length. So we listen to the server's signals too, and hand them on.
    A second one hurries, as it does elsewhere.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def listen(self) -> None:
        """Step in front of the server's own handlers, if this is the thread that may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # Otherwise the process ends at once, and we must not keep it from that.
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)

    def leave(self) -> None:
        """Give the signals back, unless somebody has taken them over meanwhile."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    async def finish(self) -> None:
        """Return when the runs have their end. What goes wrong must not keep the rest from ending."""
        self._begin()
        if self._task is not None:
            try:
                await self._task
            except Exception:
                logger.exception("lifespan.drain_failed")

    def _told(self) -> None:
        supervisor = running_supervisor()
        if self._task is not None and supervisor is not None:
            supervisor.hurry()
        self._begin()

    def _begin(self) -> None:
        supervisor = running_supervisor()
        if self._task is None and supervisor is not None:
            self._task = self._loop.create_task(supervisor.shutdown(), name="gateway:drain")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: there is nothing left to end.
            self._loop.call_soon_threadsafe(self._told)
        self._handlers[number](number, frame)
