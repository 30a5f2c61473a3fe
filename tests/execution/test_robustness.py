"""What a foreign agent, a stuck client or a wrong count must not do to a run."""

import asyncio
from contextlib import suppress

import pytest

from gateway_project import clock
from gateway_project.agents.events import Finish, TextDelta, ToolActivity, Usage
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution import active_run
from gateway_project.execution.outlet import Aborted, Completed, Failed, RunResult
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, RunStatus
from tests.execution.stage import Events, Stage, answer, forever, silent, turns


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
    async with asyncio.timeout(30):
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


async def test_fewer_choices_than_were_asked_for_are_no_answer() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield Finish("stop", choice=2)

    stage = Stage(script, choices=3)
    end = await stage.end()
    assert (end.status, end.error_code) == (RunStatus.FAILED, "internal_error")
    [result] = stage.outlet.results
    assert isinstance(result, Failed)


async def test_an_agent_that_is_silent_for_too_long_is_aborted() -> None:
    end = await Stage(silent, first_output_seconds=0.02).end()
    assert (end.abort_cause, end.abort_phase, end.abort_reason) == (
        "timeout",
        "before_output",
        "no output within 0.02 s",
    )


async def test_an_agent_that_has_spoken_has_all_its_time() -> None:
    stage = Stage(forever, first_output_seconds=0.3)
    await stage.started()
    await asyncio.sleep(0.5)
    assert stage.host.ends == []
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()


async def test_a_usage_of_no_known_source_is_not_believed() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("12345678")
        yield Usage(700, 800, source="upstream")  # type: ignore[arg-type]
        yield Finish("stop")

    end = await Stage(script).end()
    assert (end.status, end.input_tokens, end.output_tokens, end.usage_source) == ("completed", 2, 2, "estimated")


@pytest.mark.parametrize("wrong", [Finish("done"), Finish("stop", 1), Finish("stop", -1), Finish("stop", None)])  # type: ignore[arg-type]
async def test_a_finish_that_is_none_is_a_failure(wrong: Finish) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        yield wrong

    stage = Stage(script)
    assert (await stage.end()).status == RunStatus.FAILED
    assert [type(result) for result in stage.outlet.results] == [Failed]


async def test_what_cannot_be_told_of_an_end_does_not_cost_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_half(record: RunRecord, status: RunStatus, outcome: AbortOutcome | None, **more: object) -> None:
        record.status, record.finished_at = status, clock.now()
        raise ValueError("'upstream' is not a valid UsageSource")

    monkeypatch.setattr(active_run, "fill_end", fill_half)
    stage = Stage(answer)
    assert (await stage.end()).status == RunStatus.COMPLETED
    assert stage.host.over == [stage.run]


async def test_an_outlet_that_fails_when_it_is_let_go_does_not_keep_the_agent_running() -> None:
    def fail(result: object) -> None:
        raise TypeError("expected str instance, bytes found")

    stage = Stage(forever)
    stage.outlet.gone = fail  # type: ignore[method-assign]
    await stage.started()
    await asyncio.sleep(0)
    assert stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED


async def test_a_client_is_told_when_other_code_cancels_the_run() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    stage = Stage(script)
    end = await stage.end()
    assert (end.status, end.abort_outcome, end.abort_reason) == (
        "aborted",
        "stopped",
        "its task was cancelled by other code",
    )
    async with asyncio.timeout(30):
        await stage.outlet.ending.wait()
    assert [type(result) for result in stage.outlet.results] == [Aborted]


async def test_who_is_being_told_the_end_when_other_code_cancels_the_run_is_not_told_another() -> None:
    stage = Stage(answer)
    said: list[RunResult] = []
    end_of_outlet = stage.outlet.end

    async def end_and_count(result: RunResult) -> bool:
        said.append(result)
        return await end_of_outlet(result)

    stage.outlet.end = end_and_count  # type: ignore[method-assign]
    stage.outlet.last_word_sent.clear()
    async with asyncio.timeout(30):
        await stage.outlet.ending.wait()
    stage.run.task.cancel()
    end = await stage.end()
    assert (end.status, end.abort_cause, end.abort_outcome) == ("completed", "shutdown", "finished_first")
    await asyncio.sleep(0)
    assert [type(result) for result in said] == [Completed]


async def test_a_group_of_errors_that_is_no_exception_is_a_failure_like_others() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        raise BaseExceptionGroup("several", [GeneratorExit()])

    stage = Stage(script)
    assert (await stage.end()).status == RunStatus.FAILED
    assert [type(result) for result in stage.outlet.results] == [Failed]


async def test_a_cancel_that_the_agent_swallowed_before_hides_no_task_of_its_own() -> None:
    others: list[asyncio.Task[None]] = []
    swallowed = asyncio.Event()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        others.append(asyncio.ensure_future(asyncio.sleep(3600)))
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # As a time-out of the old kind does, which does not give its own cancel back.
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        swallowed.set()
        await asyncio.Event().wait()
        yield TextDelta("never")

    stage = Stage(script)
    async with asyncio.timeout(30):
        await swallowed.wait()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_cause, end.abort_outcome) == ("aborted", "client_disconnect", "stopped")
    assert [task.cancelled() for task in others] == [True]


class NoException(BaseException):
    """Such as those with which some libraries stop whatever runs in them."""


@pytest.mark.parametrize("failure", [NoException(), SystemExit(3)])
async def test_what_is_no_exception_ends_its_run_and_nothing_else(failure: BaseException) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        yield TextDelta("a")
        raise failure

    stage = Stage(script)
    end = await stage.end()
    assert (end.status, end.error_code, end.delivered) == (RunStatus.FAILED, "internal_error", True)
    assert [type(result) for result in stage.outlet.results] == [Failed]


@pytest.mark.parametrize("failure", [NoException(), SystemExit(3)])
async def test_nor_does_it_leave_tasks_when_it_comes_of_an_abort(failure: BaseException) -> None:
    left: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))
        yield TextDelta("a")
        try:
            await asyncio.Event().wait()
        finally:
            raise failure

    stage = Stage(script)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.ERRORED
    assert left[0].cancelled()


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), NoException(), SystemExit(3)])
@pytest.mark.parametrize("by_others", [False, True])
async def test_no_callback_keeps_a_run_or_its_aborter_from_ending(failure: BaseException, by_others: bool) -> None:
    told: list[str] = []

    def raising(cause: str) -> None:
        raise failure

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        signal.on_abort(raising)
        signal.on_abort(told.append)
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await turns()
    if by_others:
        stage.run.task.cancel()
    else:
        assert stage.run.abort(AbortCause.SHUTDOWN)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert told == ["shutdown"]


async def test_an_agent_that_says_nothing_without_end_lets_others_have_their_turn() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        while clock.monotonic() < until:
            yield ()  # type: ignore[misc]  # an empty burst

    until = clock.monotonic() + 30
    stage = Stage(script)
    await stage.started()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert clock.monotonic() < until
