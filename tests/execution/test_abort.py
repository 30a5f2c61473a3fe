"""The truth about how an agent was stopped: cause, phase, outcome."""

import asyncio

import pytest

from gateway_project.agents.events import Finish, TextDelta
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.outlet import Aborted
from gateway_project.runs.journal import InsertRun
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus
from tests.execution.stage import Events, Stage, answer, forever, silent


@pytest.mark.parametrize(("script", "phase"), [(silent, AbortPhase.BEFORE_OUTPUT), (forever, AbortPhase.STREAMING)])
async def test_a_client_that_leaves_stops_the_agent(script: object, phase: AbortPhase) -> None:
    stage = Stage(script)  # type: ignore[arg-type]  # both are scripts
    await stage.started()
    await asyncio.sleep(0)
    assert stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_cause, end.abort_phase, end.abort_outcome, end.delivered) == (
        RunStatus.ABORTED,
        AbortCause.CLIENT_DISCONNECT,
        phase,
        AbortOutcome.STOPPED,
        False,
    )
    assert stage.run.signal.cause == "client_disconnect"
    assert stage.outlet.results == [], "nothing is said to a client that is gone"
    assert end.settled_at is not None
    assert end.abort_requested_at is not None
    assert end.settled_at >= end.abort_requested_at


async def test_the_signal_is_set_before_the_task_is_cancelled() -> None:
    seen: list[str | None] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(signal.cause)
        yield TextDelta("never")

    stage = Stage(script)
    await stage.started()
    stage.run.abort(AbortCause.TIMEOUT)
    await stage.end()
    assert seen == ["timeout"]


async def test_a_run_aborted_before_its_first_step_leaves_a_row_and_never_calls_the_agent() -> None:
    stage = Stage(answer)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.started_at) == (RunStatus.ABORTED, AbortPhase.QUEUED, None)
    assert [type(change) for change in stage.host.changes] == [InsertRun]
    assert not stage.agent.started.is_set()


async def test_a_run_aborted_while_its_record_is_written_never_calls_the_agent() -> None:
    stage = Stage(answer)
    stage.host.durable.clear()
    for _ in range(3):
        await asyncio.sleep(0)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.started_at) == (RunStatus.ABORTED, AbortPhase.PREPARING, None)
    assert not stage.agent.started.is_set()


async def test_an_abort_in_the_queue_gives_the_place_back() -> None:
    stage = Stage(answer, busy=True)
    await asyncio.sleep(0)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.abort_phase, end.started_at, end.output_tokens) == (AbortPhase.QUEUED, None, None)
    assert stage.host.over == [stage.run]


async def test_an_agent_that_finishes_while_it_is_cancelled_finished_first() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield TextDelta("done")
        yield Finish("stop")

    stage = Stage(script)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_outcome, end.delivered) == (
        RunStatus.COMPLETED,
        AbortOutcome.FINISHED_FIRST,
        False,
    )


async def test_an_agent_that_finished_before_the_abort_finished_first() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield Finish("stop")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await asyncio.sleep(0)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.abort_outcome) == ("completed", "finishing", "finished_first")


async def test_of_several_choices_all_must_have_finished() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield Finish("stop", choice=0)
        await asyncio.Event().wait()

    stage = Stage(script, choices=2)
    await stage.started()
    await asyncio.sleep(0)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED


async def test_an_agent_that_raises_while_it_stops_errored(caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("clean-up failed") from None
        yield TextDelta("never")

    stage = Stage(script)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_outcome, end.error_code) == ("aborted", "errored", "internal_error")
    assert stage.outlet.results == []


async def test_an_agent_that_does_not_stop_is_unresponsive_and_its_real_end_is_noted() -> None:
    release = asyncio.Event()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        yield TextDelta("late")

    stage = Stage(script, grace_seconds=0.02)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_outcome, end.settled_at) == ("aborted", "unresponsive", None)
    assert not stage.run.task.done()
    release.set()
    await asyncio.wait([stage.run.task], timeout=30)
    await asyncio.sleep(0)
    assert [note.kind for note in stage.host.notes] == [NoteKind.LATE_END]
    assert stage.host.late == [stage.run]
    assert len(stage.host.ends) == 1
    assert stage.outlet.events == []


async def test_stopped_is_not_said_before_it_is_so() -> None:
    cleaned = asyncio.Event()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        try:
            await asyncio.Event().wait()
        finally:
            await cleaned.wait()
        yield TextDelta("never")

    stage = Stage(script)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.host.ends == []
    cleaned.set()
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED


async def test_an_abort_while_the_writer_is_held_up_stops_the_agent_too() -> None:
    closed: list[bool] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        try:
            while True:
                yield TextDelta("a")
        finally:
            closed.append(True)

    stage = Stage(script)
    stage.outlet.room.clear()
    await stage.started()
    await asyncio.sleep(0)
    stage.run.abort(AbortCause.OPERATOR_CANCELLED)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert closed == [True]


async def test_an_abort_after_the_end_does_nothing() -> None:
    stage = Stage(answer)
    await stage.end()
    assert not stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert len(stage.host.ends) == 1
    assert stage.host.notes == []


async def test_the_first_cause_counts_and_the_second_is_noted() -> None:
    stage = Stage(forever)
    await stage.started()
    assert stage.run.abort(AbortCause.OPERATOR_CANCELLED, by="alice", reason="too dear")
    assert not stage.run.abort(AbortCause.SHUTDOWN)
    end = await stage.end()
    assert (end.abort_cause, end.abort_requested_by, end.abort_reason) == ("operator_cancelled", "alice", "too dear")
    assert [(note.kind, note.text) for note in stage.host.notes] == [(NoteKind.SECOND_CAUSE, "shutdown")]


async def test_a_client_that_is_still_there_is_told_at_once_and_once() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield TextDelta("ignored")

    stage = Stage(script, grace_seconds=0.02)
    await stage.started()
    stage.run.abort(AbortCause.TIMEOUT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [type(result) for result in stage.outlet.results] == [Aborted], "before the grace period is over"
    assert (await stage.end()).abort_outcome == AbortOutcome.UNRESPONSIVE
    assert len(stage.outlet.results) == 1
    assert len(stage.outlet.events) == 1
    await stop(stage)


async def stop(stage: Stage) -> None:
    """End a task that ignores cancellation: it was detached, and closes its generator when it yields."""
    stage.run.task.cancel()
    await asyncio.wait([stage.run.task], timeout=30)


async def test_a_run_that_takes_too_long_is_aborted() -> None:
    end = await Stage(silent, timeout_seconds=0.02).end()
    assert (end.status, end.abort_cause, end.abort_outcome) == ("aborted", "timeout", "stopped")


async def test_an_agent_that_is_to_finish_goes_on_when_the_client_leaves() -> None:
    release = asyncio.Event()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        await release.wait()
        yield Finish("stop")

    stage = Stage(script, on_disconnect="finish")
    await stage.started()
    await asyncio.sleep(0)
    assert not stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert not stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    release.set()
    end = await stage.end()
    assert (end.status, end.abort_cause, end.delivered) == ("completed", "", False)
    assert [note.kind for note in stage.host.notes] == [NoteKind.CLIENT_GONE]


async def test_a_client_that_leaves_while_the_last_bytes_are_sent_did_not_get_them() -> None:
    stage = Stage(answer)
    stage.outlet.last_word_sent.clear()
    await stage.started()
    async with asyncio.timeout(30):
        await stage.outlet.ending.wait()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.abort_outcome, end.delivered) == (
        "completed",
        "finishing",
        "finished_first",
        False,
    )


async def test_a_cancel_of_somebody_else_is_not_taken_for_ours() -> None:
    stage = Stage(forever)
    await stage.started()
    await asyncio.sleep(0)
    stage.run.task.cancel()
    end = await stage.end()
    assert (end.status, end.abort_cause, end.abort_outcome) == ("aborted", "shutdown", "stopped")
    assert stage.run.task.cancelled()


async def test_our_own_cancels_are_given_back() -> None:
    stage = Stage(forever)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()
    assert not stage.run.task.cancelled()
    assert stage.run.task.cancelling() == 0
