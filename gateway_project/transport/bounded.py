"""A wait with a deadline that costs nothing where there is nothing to wait for."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

_LOOKS = 4
"""How often it is looked whether there is any progress, within the time that is allowed without."""


class Bounded(Awaitable[T]):
    """Awaits `awaited`, and for at most `seconds` (None: for ever) once it has to wait.

    Nearly all that is sent goes out at once. ``asyncio.timeout`` would set and cancel a timer for each.

    Args:
        left: how much there is still to do, where that is known: while it grows less the time begins anew.

    Raises:
        TimeoutError: as ``asyncio.timeout`` does.
    """

    __slots__ = ("_awaited", "_left", "_seconds")

    def __init__(self, awaited: Awaitable[T], seconds: float | None, left: Callable[[], int] | None = None) -> None:
        self._awaited = awaited
        self._seconds = seconds
        self._left = left

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._awaited.__await__()
        try:
            first = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        return (yield from self._wait(steps, first).__await__())

    async def _wait(self, steps: Generator[Any, Any, T], first: Any) -> T:
        async with asyncio.timeout(self._seconds) as deadline:
            if self._seconds is None or self._left is None:
                return await _resumed(steps, first)
            patience = _Patience(deadline, self._seconds, self._left)
            try:
                return await _resumed(steps, first)
            finally:
                patience.end()


class _Patience:
    """Moves a deadline on while what is left grows less."""

    def __init__(self, deadline: asyncio.Timeout, seconds: float, left: Callable[[], int]) -> None:
        self._deadline = deadline
        self._seconds = seconds
        self._left = left
        self._was_left = left()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds / _LOOKS, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._deadline.expired():
            return
        left = self._left()
        if left < self._was_left:
            self._deadline.reschedule(self._loop.time() + self._seconds)
        self._was_left = left
        self._timer = self._loop.call_later(self._seconds / _LOOKS, self._look)


@types.coroutine
def _resumed(steps: Generator[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was begun, and that waits for something."""
    try:
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 (a cancellation is the coroutine's to see)
                waits_for = steps.throw(error)
            else:
                waits_for = steps.send(sent)
    except StopIteration as end:
        result: T = end.value
        return result
