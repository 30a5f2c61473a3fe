"""The abort signal: everybody is told once, of the first cause, whoever else among them fails."""

import asyncio

import pytest

from gateway_project.agents.signal import AbortSignal


@pytest.fixture
def signal() -> AbortSignal:
    return AbortSignal()


def test_nothing_has_happened_yet(signal: AbortSignal) -> None:
    assert (signal.aborted, signal.cause) == (False, None)


def test_a_callback_is_called_at_the_abort_with_its_cause(signal: AbortSignal) -> None:
    told: list[str] = []
    signal.on_abort(told.append)
    assert told == []
    signal.set("timeout")
    assert told == ["timeout"]


def test_a_callback_that_comes_after_the_abort_is_called_at_once(signal: AbortSignal) -> None:
    told: list[str] = []
    signal.set("timeout")
    signal.on_abort(told.append)
    assert told == ["timeout"]


def test_only_the_first_cause_counts(signal: AbortSignal) -> None:
    told: list[str] = []
    signal.on_abort(told.append)
    signal.set("client_disconnect")
    signal.set("shutdown")
    signal.on_abort(told.append)
    assert signal.cause == "client_disconnect"
    assert told == ["client_disconnect"] * 2


def test_whoever_is_called_sees_the_signal_set(signal: AbortSignal) -> None:
    seen: list[tuple[bool, str | None]] = []
    signal.on_abort(lambda cause: seen.append((signal.aborted, signal.cause)))
    signal.set("timeout")
    assert seen == [(True, "timeout")]


def test_a_callback_may_ask_for_another_one(signal: AbortSignal) -> None:
    told: list[str] = []
    signal.on_abort(lambda cause: signal.on_abort(told.append))
    signal.set("timeout")
    assert told == ["timeout"]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_callback_that_raises_is_logged_and_keeps_nobody_from_being_called(
    signal: AbortSignal, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    told: list[str] = []

    def fail(cause: str) -> None:
        raise LookupError(cause)

    if late:
        signal.set("timeout")
    for callback in (fail, told.append, fail, told.append):
        signal.on_abort(callback)
    signal.set("timeout")
    assert told == ["timeout"] * 2
    assert [record.message for record in caplog.records] == ["run.abort_callback_failed"] * 2
    assert "LookupError: timeout" in caplog.text


async def test_all_that_wait_are_woken(signal: AbortSignal) -> None:
    waiting = [asyncio.ensure_future(signal.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    signal.set("timeout")
    assert await asyncio.wait_for(asyncio.gather(*waiting), 30) == ["timeout"] * 3


async def test_waiting_for_what_has_happened_takes_no_time(signal: AbortSignal) -> None:
    signal.set("timeout")
    assert await asyncio.wait_for(signal.wait(), 30) == "timeout"


async def test_a_callback_that_raises_does_not_keep_those_who_wait_asleep(signal: AbortSignal) -> None:
    def fail(cause: str) -> None:
        raise LookupError(cause)

    signal.on_abort(fail)
    waiting = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    signal.set("timeout")
    assert await asyncio.wait_for(waiting, 30) == "timeout"
