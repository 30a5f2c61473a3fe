"""One run from its start to its end: a normal life, and failures."""

import asyncio

import pytest

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import Finish, TextDelta, ToolActivity, Usage
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.outlet import Completed, Failed
from gateway_project.runs.journal import InsertRun, StartRun
from gateway_project.runs.vocabulary import NoteKind, RunStatus
from tests.execution.stage import Events, Stage, answer


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
    assert (end.status, end.error_code, end.started_at) == (RunStatus.FAILED, "database_unavailable", None)
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


SAID = "Could not parse 'My key is sk-proj-abcdefghijklmnopqrstuvwx1234'."


@pytest.mark.parametrize(
    ("mode", "recorded"),
    [
        (None, "The upstream refused the request."),
        ("digest", "The upstream refused the request."),
        ("redacted", "Could not parse 'My key is [redacted: API key]'."),
        ("full", SAID),
    ],
)
async def test_an_upstreams_own_words_reach_the_client_and_the_record_as_its_content_is_kept(
    mode: str | None, recorded: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        if request.messages:
            raise AgentError(SAID, code="odd_value", record_as="The upstream refused the request.")
        yield TextDelta("a")

    stage = Stage(script)
    stage.run.record.parameters = {} if mode is None else {"content": mode}
    end = await stage.end()
    assert (end.error_code, end.error_message) == ("odd_value", recorded)
    assert isinstance(stage.outlet.results[0], Failed)
    assert stage.outlet.results[0].error.message == SAID
    assert not any("My key" in repr(vars(entry)) for entry in caplog.records)


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
