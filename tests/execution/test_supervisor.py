"""What the owner of all runs promises, whatever goes wrong around it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.conf import AgentSettings, GatewaySettings, LimitSettings
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.supervisor import Supervisor
from gateway_project.runs.journal import Journal
from gateway_project.runs.vocabulary import RunStatus
from gateway_project.transport.run_consumer import RunConsumer
from responses.websocket import ResponsesSocket
from tests.execution.stage import FunctionAsAgent, RememberingOutlet, answer
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    settings = GatewaySettings(AGENTS={"staged": AgentSettings(BACKEND="")}, LIMITS=LimitSettings(CONCURRENT_RUNS=1))
    made = Supervisor(settings, Journal("default", spill=tmp_path), worker=ids.uuid7().hex)
    made.begin()
    yield made
    await made.shutdown()


def start(supervisor: Supervisor) -> ActiveRun:
    record = make_record(status=RunStatus.QUEUED, started_at=None, agent="staged", worker="")
    request = AgentRequest(run_id=record.id, model="m", messages=(Message("user", (TextPart("hello"),)),))
    return supervisor.start(record, request, FunctionAsAgent(answer), RememberingOutlet())


async def test_a_run_that_cannot_be_made_gives_its_place_back(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("gateway_project.execution.supervisor.ContentLog.of", broken)
        with pytest.raises(ZeroDivisionError):
            start(supervisor)
    run = start(supervisor)
    assert run.ticket.state == "held"
    async with asyncio.timeout(30):
        await asyncio.shield(run.closed)


async def test_a_process_ends_while_something_hangs_in_all_the_loops_threads(supervisor: Supervisor) -> None:
    released = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    hanging = asyncio.ensure_future(asyncio.to_thread(released.wait, 90))
    try:
        async with asyncio.timeout(30):
            await supervisor.shutdown()
        assert not hanging.done()
    finally:
        released.set()
        await hanging


@pytest.mark.parametrize("consumer", [RunConsumer, ResponsesSocket])
async def test_a_consumer_that_is_killed_twice_takes_no_run_for_ended(consumer: Any) -> None:
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run = SimpleNamespace(closed=closed, abort=lambda cause: True)
    killed = asyncio.ensure_future(consumer._killed(SimpleNamespace(run=run, _turn=SimpleNamespace(run=run))))
    await asyncio.sleep(0)
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    assert not closed.done()
