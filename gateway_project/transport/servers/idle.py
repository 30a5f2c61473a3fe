"""How long a connection may be without a request: one timer for all its life, where Twisted makes two a request."""

import asyncio
from collections.abc import Callable


class OneIdleTimer:
    """Twisted's `TimeoutMixin`, on the loop of asyncio. When the timer rings it looks whether it is time."""

    timeOut: float | None = None  # noqa: N815 (Twisted's name)
    timeoutConnection: Callable[[], None]  # noqa: N815 (Twisted's name)
    """What the protocol does when it was idle for too long."""
    _timer_of_idleness: asyncio.TimerHandle | None = None
    _idle_until: float | None = None

    def setTimeout(self, period: float | None) -> float | None:  # noqa: N802 (Twisted's name)
        """From now on give it so many seconds; None: for ever. Returns what it was before."""
        previous, self.timeOut = self.timeOut, period
        self.resetTimeout()
        until, timer = self._idle_until, self._timer_of_idleness
        if until is not None and (timer is None or timer.when() > until):
            self._ring_at(until)
        return previous

    def resetTimeout(self) -> None:  # noqa: N802 (Twisted's name)
        """Something came."""
        self._idle_until = None if self.timeOut is None else asyncio.get_running_loop().time() + self.timeOut

    def forget_timeout(self) -> None:
        """The connection is gone."""
        self._idle_until = None
        if self._timer_of_idleness is not None:
            self._timer_of_idleness.cancel()
            self._timer_of_idleness = None

    def _ring_at(self, until: float) -> None:
        if self._timer_of_idleness is not None:
            self._timer_of_idleness.cancel()
        self._timer_of_idleness = asyncio.get_running_loop().call_at(until, self._look)

    def _look(self) -> None:
        self._timer_of_idleness, until = None, self._idle_until
        if until is None:
            return  # A request is at work; the wait after it sets another timer.
        if asyncio.get_running_loop().time() < until:
            self._ring_at(until)
        else:
            self._idle_until = None
            self.timeoutConnection()
