"""A response that is handed over: whatever goes wrong on the way, its run has an end."""

import asyncio
import json

import pytest
from django.db import ProgrammingError

from gateway_project import clock
from gateway_project.execution.background import BackgroundBackend
from gateway_project.runs.journal import CloseRun, InsertRun, JournalUnavailable
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import RunStatus
from gateway_project.transport.errors import DatabaseAway
from responses import background
from responses.background import hand_over
from responses.store import ResponseRecord
from tests.execution.stage import ListeningHost
from tests.runs.records import make_record


class Backend(BackgroundBackend):
    """Fails, or never comes to an end."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.submitted = asyncio.Event()

    def check_room(self, record: RunRecord) -> None:
        pass

    async def submit(self, record: RunRecord) -> None:
        self.submitted.set()
        if self.failure is not None:
            raise self.failure
        await asyncio.Event().wait()


class Host(ListeningHost):
    """The supervisor, as far as it is asked."""

    worker = "w"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(background, "current_supervisor", lambda: made)
    return made


def handing_over(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> "asyncio.Task[None]":
    monkeypatch.setattr(background, "background_backend", lambda: backend)
    run = make_record(status=RunStatus.QUEUED)
    response = ResponseRecord(
        id=run.id,
        principal_kind="api_key",
        principal_id="1",
        previous=None,
        status="queued",
        background=True,
        created_at=clock.now(),
        request=json.dumps({"model": "m", "input": "x"}),
        input="[]",
        body="{}",
    )
    return asyncio.get_running_loop().create_task(hand_over(run, response))


def check_closed(host: Host) -> None:
    kinds = [type(change) for change in host.changes]
    assert InsertRun in kinds[: kinds.index(CloseRun)]
    (end,) = [change.record for change in host.changes if isinstance(change, CloseRun)]
    assert end.status == RunStatus.FAILED
    assert end.finished_at is not None


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (JournalUnavailable("away"), DatabaseAway),
        (ProgrammingError("refused"), DatabaseAway),
        (RuntimeError("broken"), RuntimeError),
    ],
)
async def test_one_that_cannot_be_handed_over_has_its_end(
    host: Host, failure: Exception, told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(told):
        await handing_over(Backend(failure), monkeypatch)
    check_closed(host)


async def test_one_that_is_cut_short_while_it_is_handed_over_has_its_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(None)
    handing = handing_over(backend, monkeypatch)
    await backend.submitted.wait()
    handing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handing
    check_closed(host)


@pytest.mark.parametrize("turns", [1, 5])
async def test_one_that_is_cut_short_while_it_is_made_durable_has_its_end(
    host: Host, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.durable.clear()
    handing = handing_over(Backend(None), monkeypatch)
    for _ in range(turns):
        await asyncio.sleep(0)
    handing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handing
    check_closed(host)
