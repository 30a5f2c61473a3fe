"""A run whose request holds more than text: prepared after its record, before its agent, in its own task."""

import asyncio
from pathlib import Path

from gateway_project.agents.events import Finish
from gateway_project.agents.request import AgentRequest, FilePart, TextPart
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.outlet import Failed
from gateway_project.input_settings import InputSettings
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus
from tests.execution.inputs.test_text import is_alive, started
from tests.execution.stage import Events, Stage, answer
from tests.file_server import FileServer


def file(source: str) -> FilePart:
    return FilePart(where="input[0].content[0].file_url", source=source, filename="a.txt")


async def test_the_agent_gets_what_was_prepared_and_usage_is_estimated_from_it() -> None:
    got: list[AgentRequest] = []

    async def listen(request: AgentRequest, signal: AbortSignal) -> Events:
        got.append(request)
        yield Finish("stop")

    stage = Stage(listen, parts=(file("YWJj"),))
    end = await stage.end()
    text = '\n<file name="a.txt" type="text/plain">\nabc\n</file>\n'
    assert got[0].messages[0].content == (TextPart(text),)
    assert (end.status, end.input_tokens) == (RunStatus.COMPLETED, -(-len(text) // 4))


async def test_what_cannot_be_prepared_fails_the_run_and_the_agent_is_not_called() -> None:
    stage = Stage(answer, parts=(file("@"),))
    end = await stage.end()
    assert (end.status, end.error_code, end.started_at) == (RunStatus.FAILED, "invalid_base64_file", None)
    assert not stage.agent.started.is_set()
    [told] = stage.outlet.results
    assert isinstance(told, Failed)
    assert told.error.param == "input[0].content[0].file_url"


async def test_nothing_is_fetched_before_the_record_is_durable(files: FileServer) -> None:
    limits = InputSettings(PRIVATE_HOSTS=(files.host,))
    stage = Stage(answer, parts=(file(files.url("/note.txt")),), inputs=limits)
    stage.host.durable.clear()
    await asyncio.sleep(0.1)
    assert files.log == []
    stage.host.durable.set()
    assert (await stage.end()).status == RunStatus.COMPLETED
    assert [note.kind for note in stage.host.notes] == ["input"]


async def test_an_abort_stops_the_download(files: FileServer) -> None:
    limits = InputSettings(PRIVATE_HOSTS=(files.host,))
    stage = Stage(answer, parts=(file(files.url("/slow")),), inputs=limits)
    await asyncio.to_thread(files.visit, lambda _: True)
    assert stage.run.abort(AbortCause.OPERATOR_CANCELLED)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.abort_outcome) == (
        RunStatus.ABORTED,
        AbortPhase.PREPARING,
        AbortOutcome.STOPPED,
    )
    await asyncio.to_thread(files.visit, lambda visit: visit.closed)
    assert not stage.agent.started.is_set()


async def test_an_abort_stops_the_reading_of_a_file(endless: Path) -> None:
    stage = Stage(answer, parts=(file("PGh0bWw+"),))
    pid = await started(endless)
    assert stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    end = await stage.end()
    assert (end.status, end.abort_phase, end.abort_outcome) == (
        RunStatus.ABORTED,
        AbortPhase.PREPARING,
        AbortOutcome.STOPPED,
    )
    assert not is_alive(pid)
    assert not stage.agent.started.is_set()
