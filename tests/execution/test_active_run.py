"""One run, one end, and the truth about how its agent stopped."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolActivity, Usage
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.agents.tasks import detached
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.runs.journal import InsertRun, StartRun
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus
from tests.execution.stage import Stage

Events = AsyncGenerator[AgentEvent, None]


async def answer(request: AgentRequest, signal: AbortSignal) -> Events:
    yield TextDelta("four")
    yield Finish("stop")


async def forever(request: AgentRequest, signal: AbortSignal) -> Events:
    yield TextDelta("a")
    await asyncio.Event().wait()


async def silent(request: AgentRequest, signal: AbortSignal) -> Events:
    await asyncio.Event().wait()
    yield TextDelta("never")


# -- a normal life ------------------------------------------------------------------------------------


async def test_a_run_that_finishes_is_completed_and_delivered() -> None:
    stage = Stage(answer)
    end = await stage.end()
    assert (end.status, end.delivered, end.finish_reason, end.abort_cause) == (RunStatus.COMPLETED, True, "stop", "")
    assert end.started_at is not None
    assert end.first_output_at is not None
    assert end.settled_at is not None
    assert end.finished_at is not None
    assert end.received_at <= end.started_at <= end.first_output_at <= end.settled_at <= end.finished_at
    assert isinstance(stage.outlet.results[0], Completed)
    assert stage.host.over == [stage.run]


async def test_the_agent_is_not_called_before_its_record_is_durable() -> None:
    stage = Stage(answer)
    stage.host.durable.clear()
    for _ in range(5):
        await asyncio.sleep(0)
    assert isinstance(stage.host.changes[0], InsertRun)
    assert stage.host.changes[0].record.status == RunStatus.RUNNING
    assert not stage.agent.started.is_set()
    stage.host.durable.set()
    await stage.end()
    assert stage.agent.started.is_set()


async def test_without_a_record_there_is_no_agent_work() -> None:
    stage = Stage(answer)
    stage.host.unavailable = True
    end = await stage.end()
    assert (end.status, end.error_code, end.started_at) == (RunStatus.FAILED, "journal_unavailable", None)
    assert not stage.agent.started.is_set()
    [failed] = stage.outlet.results
    assert isinstance(failed, Failed)
    assert (failed.error.status, failed.error.retry_after) == (503, 1)


async def test_a_run_that_has_to_wait_is_visible_as_queued() -> None:
    stage = Stage(answer, busy=True)
    for _ in range(5):
        await asyncio.sleep(0)
    [queued] = stage.host.changes
    assert isinstance(queued, InsertRun)
    assert queued.record.status == RunStatus.QUEUED
    assert stage.holder is not None
    stage.places.leave(stage.holder)
    end = await stage.end()
    assert isinstance(stage.host.changes[1], StartRun)
    assert end.status == RunStatus.COMPLETED


async def test_a_run_that_waits_too_long_fails_with_a_time_to_come_back() -> None:
    stage = Stage(answer, busy=True, queue_seconds=0.01)
    end = await stage.end()
    assert (end.status, end.error_code, end.started_at) == (RunStatus.FAILED, "queue_timeout", None)
    [failed] = stage.outlet.results
    assert isinstance(failed, Failed)
    assert (failed.error.status, failed.error.retry_after) == (503, 0.01)


async def test_the_last_reported_usage_counts_and_zero_stays_zero() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("something")
        yield Usage(7, 1)
        yield Finish("stop")
        yield Usage(7, 0, cached_tokens=3)

    end = await Stage(script).end()
    assert (end.input_tokens, end.output_tokens, end.cached_tokens, end.usage_source) == (7, 0, 3, "reported")


async def test_usage_that_nobody_reported_is_estimated_and_marked_so() -> None:
    stage = Stage(answer)
    end = await stage.end()
    assert (end.input_tokens, end.output_tokens, end.usage_source) == (2, 1, "estimated")


async def test_the_agents_own_tools_are_noted_for_the_auditor() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield ToolActivity("search", "started", "q=1")
        yield Finish("stop")

    stage = Stage(script)
    await stage.end()
    assert [(note.kind, note.text) for note in stage.host.notes] == [(NoteKind.TOOL, "search started q=1")]


# -- failures -----------------------------------------------------------------------------------------


async def test_an_agents_error_reaches_client_and_record() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        raise AgentError("The upstream is full.", code="upstream_full", status=429, retry_after=3)

    stage = Stage(script)
    end = await stage.end()
    assert (end.status, end.error_code, end.error_message) == (
        RunStatus.FAILED,
        "upstream_full",
        "The upstream is full.",
    )
    assert isinstance(stage.outlet.results[0], Failed)
    assert stage.outlet.results[0].error.retry_after == 3


async def test_an_unforeseen_error_is_logged_once_and_hidden(caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        if request.messages:
            raise RuntimeError("password=hunter2")
        yield TextDelta("a")

    stage = Stage(script)
    end = await stage.end()
    assert (end.status, end.error_code, end.error_message) == (RunStatus.FAILED, "internal_error", "The agent failed.")
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["run.failed"]
    assert isinstance(stage.outlet.results[0], Failed)
    assert "hunter2" not in stage.outlet.results[0].error.message


async def test_an_agent_that_ends_without_finishing_has_failed() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("half")

    end = await Stage(script).end()
    assert (end.status, end.error_code) == (RunStatus.FAILED, "internal_error")


async def test_an_agent_that_cancels_itself_has_failed_and_was_not_aborted() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        raise asyncio.CancelledError

    end = await Stage(script).end()
    assert (end.status, end.abort_cause, end.error_code) == (RunStatus.FAILED, "", "internal_error")


# -- aborts -------------------------------------------------------------------------------------------


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
    await asyncio.wait([stage.run.task], timeout=5)
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
    await asyncio.wait([stage.run.task], timeout=5)


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
    async with asyncio.timeout(5):
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


# -- what must not go wrong ---------------------------------------------------------------------------


async def test_a_callback_that_raises_does_not_keep_the_run_from_being_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def raising(cause: str) -> None:
        raise ProcessLookupError

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        signal.on_abort(raising)
        signal.on_abort(told.append)
        await asyncio.Event().wait()
        yield TextDelta("never")

    stage = Stage(script)
    await stage.started()
    await asyncio.sleep(0)
    assert stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert told == ["client_disconnect"]
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["run.abort_callback_failed"]


@pytest.mark.parametrize("finishes", [True, False])
async def test_a_client_that_does_not_take_the_last_word_does_not_keep_the_run_open(finishes: bool) -> None:
    stage = Stage(answer if finishes else forever, grace_seconds=0.02)
    stage.outlet.last_word_sent.clear()
    await stage.started()
    await asyncio.sleep(0)
    if finishes:
        await stage.outlet.ending.wait()
    stage.run.abort(AbortCause.SHUTDOWN)
    end = await stage.end()
    outcome = AbortOutcome.FINISHED_FIRST if finishes else AbortOutcome.STOPPED
    assert (end.abort_cause, end.abort_outcome, end.delivered) == (AbortCause.SHUTDOWN, outcome, False)
    assert stage.outlet.is_gone
    assert stage.host.over == [stage.run]
    assert stage.host.late == []


async def test_an_answer_that_cannot_be_said_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(answer)

    async def end(result: object) -> bool:
        raise ValueError("Out of range float values are not JSON compliant")

    stage.outlet.end = end  # type: ignore[method-assign]  # an outlet whose encoder fails
    row = await stage.end()
    assert (row.status, row.error_code) == (RunStatus.FAILED, "internal_error")
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["run.failed"]


@pytest.mark.parametrize("usage", [Usage(-1, 0), Usage(2**63, 0), Usage(None, 0), Usage(1.5, 0)])  # type: ignore[arg-type]
async def test_a_count_that_is_none_is_not_believed(usage: Usage) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield usage
        yield Finish("stop")

    end = await Stage(script).end()
    assert (end.status, end.usage_source, end.input_tokens) == (RunStatus.COMPLETED, "estimated", 2)


async def test_an_agent_that_never_waits_lets_others_have_their_turn() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        while True:
            yield TextDelta("a")

    stage = Stage(script)
    await stage.started()
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED


async def test_a_busy_agents_tools_are_noted_up_to_a_bound() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        for number in range(1000):
            yield ToolActivity(f"tool-{number}", "started")
        yield Finish("stop")

    stage = Stage(script)
    await stage.end()
    assert len(stage.host.notes) == 200
    assert stage.host.notes[-1].text == "and more, which are not noted"


async def test_a_choice_that_never_finished_is_not_waited_for() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield Finish("stop", choice=2)

    stage = Stage(script, choices=3)
    assert (await stage.end()).status == RunStatus.COMPLETED
    [result] = stage.outlet.results
    assert isinstance(result, Completed)
    assert result.reasons == {2: "stop"}


async def test_an_agent_that_is_silent_for_too_long_is_aborted() -> None:
    end = await Stage(silent, first_output_seconds=0.02).end()
    assert (end.abort_cause, end.abort_phase, end.abort_reason) == (
        "timeout",
        "before_output",
        "no output within 0.02 s",
    )


async def test_an_agent_that_has_spoken_has_all_its_time() -> None:
    stage = Stage(forever, first_output_seconds=0.02)
    await stage.started()
    await asyncio.sleep(0.05)
    assert stage.host.ends == []
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()


# -- tasks that an agent starts -----------------------------------------------------------------------


async def test_tasks_that_the_agent_left_are_stopped_with_it() -> None:
    left: list[asyncio.Task[None]] = []

    async def work() -> None:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))  # type: ignore[arg-type]  # its own child
        await asyncio.Event().wait()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(work()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await asyncio.sleep(0.01)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert [task.cancelled() for task in left] == [True, True]


async def test_an_agent_has_not_stopped_before_its_tasks_have() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        tasks.append(asyncio.ensure_future(stubborn()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    tasks: list[asyncio.Task[None]] = []
    stage = Stage(script, grace_seconds=0.03)
    await stage.started()
    await asyncio.sleep(0.01)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.UNRESPONSIVE
    release.set()
    await asyncio.wait([stage.run.task], timeout=5)
    assert tasks[0].done()


async def test_what_is_shared_on_purpose_is_left_alone() -> None:
    shared: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        with detached():
            shared.append(asyncio.ensure_future(asyncio.Event().wait()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await asyncio.sleep(0.01)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()
    assert not shared[0].done()
    shared[0].cancel()


async def test_a_run_that_ends_by_itself_may_leave_tasks() -> None:
    left: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))
        yield Finish("stop")

    await Stage(script).end()
    assert not left[0].done()
    left[0].cancel()


async def test_what_others_start_in_the_runs_context_is_not_its_own() -> None:
    others: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        # A callback carries the context along, as a server's callback for the socket does.
        asyncio.get_running_loop().call_soon(lambda: others.append(asyncio.ensure_future(asyncio.Event().wait())))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await asyncio.sleep(0.01)
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()
    assert not others[0].done()
    others[0].cancel()
