"""A wait with a deadline that costs nothing where there is nothing to wait for."""

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Bounded(Awaitable[T]):
    """Awaits `awaited`, and for at most `seconds` (None: for ever) once it has to wait.

    Nearly all that is sent goes out at once. ``asyncio.timeout`` would set and cancel a timer for each.

    Raises:
        TimeoutError: as ``asyncio.timeout`` does.
    """

    __slots__ = ("_awaited", "_seconds")

    def __init__(self, awaited: Awaitable[T], seconds: float | None) -> None:
        self._awaited = awaited
        self._seconds = seconds

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._awaited.__await__()
        try:
            first = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        return (yield from self._wait(steps, first).__await__())

    async def _wait(self, steps: Generator[Any, Any, T], first: Any) -> T:
        async with asyncio.timeout(self._seconds):
            return await _resumed(steps, first)


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
