"""A wait with a deadline: nothing where there is nothing to wait for, and all that a time-out is otherwise."""

import asyncio
from collections.abc import Callable

import pytest

from gateway_project.transport.bounded import Bounded


async def at_once() -> str:
    return "done"


async def later(seconds: float, seen: list[str] | None = None) -> str:
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if seen is not None:
            seen.append("cancelled")
        raise
    return "done"


async def test_what_need_not_wait_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a timer")

    monkeypatch.setattr(asyncio, "timeout", refuse)
    assert await Bounded(at_once(), 1) == "done"


async def test_what_waits_comes_to_its_end() -> None:
    assert await Bounded(later(0.01), 5) == "done"
    assert await Bounded(later(0.01), None) == "done"


async def test_what_makes_progress_may_take_its_time() -> None:
    left = iter(range(1000, 0, -1))
    assert await Bounded(later(0.3), 0.1, lambda: next(left)) == "done"


@pytest.mark.parametrize("left", [lambda: 7, iter(range(1000)).__next__])
async def test_what_makes_none_may_not(left: Callable[[], int]) -> None:
    with pytest.raises(TimeoutError):
        await Bounded(later(60), 0.05, left)


async def test_what_takes_too_long_is_cancelled() -> None:
    seen: list[str] = []
    with pytest.raises(TimeoutError):
        await Bounded(later(60, seen), 0.02)
    assert seen == ["cancelled"]


async def test_a_cancellation_from_outside_goes_through() -> None:
    seen: list[str] = []

    async def work() -> str:
        return await Bounded(later(60, seen), 60)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_an_error_is_its_own() -> None:
    async def fail(first: bool) -> None:
        if not first:
            await asyncio.sleep(0)
        raise OSError("gone")

    for first in (True, False):
        with pytest.raises(OSError, match="gone"):
            await Bounded(fail(first), 1)
