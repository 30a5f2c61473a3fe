"""A process that was taken for dead goes on under a new name, and starts no run that others may sweep."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock, ids
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.conf import AgentSettings, GatewaySettings
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.lease_keeper import LeaseKeeper
from gateway_project.execution.supervisor import Supervisor
from gateway_project.runs.journal import Change, InsertRun, Journal
from gateway_project.runs.lease import RenewLease, Sweep
from gateway_project.runs.models import Run, Worker
from gateway_project.runs.vocabulary import AbortCause, RunStatus
from tests.execution.stage import FunctionAsAgent, RememberingOutlet, Script, answer, forever
from tests.runs.records import make_record
from tests.runs.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

LEASE_SECONDS = 300.0  # What happens in a test happens between two renewals.


@pytest.fixture
async def others(tmp_path: Path) -> AsyncIterator[Journal]:
    """The journal of another process."""
    journal = Journal("default", spill=tmp_path)
    yield journal
    assert await asyncio.to_thread(journal.stop, 30)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    settings = GatewaySettings(AGENTS={"staged": AgentSettings(BACKEND="")}, LEASE_SECONDS=LEASE_SECONDS)
    journal = Journal("default", spill=tmp_path, lease_seconds=LEASE_SECONDS)
    made = Supervisor(settings, journal, worker=ids.uuid7().hex)
    made.begin()
    await registered(made.worker)
    yield made
    await made.shutdown()


async def registered(worker: str) -> None:
    await until(Worker.objects.filter(pk=worker).aexists)


async def lapse(worker: str) -> None:
    await Worker.objects.filter(pk=worker).aupdate(lease_until=clock.now() - timedelta(seconds=1))


async def taken_for_lost(worker: str, others: Journal) -> None:
    """Somebody sweeps it. Its own renewal may come between the lapse and the sweep: then both again."""
    lost = Worker.objects.filter(pk=worker, lost_at__isnull=False)
    async with asyncio.timeout(30):
        while not await lost.aexists():
            await lapse(worker)
            await others.write(Sweep(), within=30)


def start(supervisor: Supervisor, script: Script) -> tuple[ActiveRun, FunctionAsAgent]:
    agent = FunctionAsAgent(script)
    record = make_record(status=RunStatus.QUEUED, started_at=None, agent="staged", worker="")
    request = AgentRequest(run_id=record.id, model="m", messages=(Message("user", (TextPart("hello"),)),))
    return supervisor.start(record, request, agent, RememberingOutlet()), agent


async def closed(run: ActiveRun) -> Run:
    async with asyncio.timeout(30):
        await asyncio.shield(run.closed)
    return await Run.objects.aget(pk=run.record.id)


async def test_no_run_starts_under_a_name_that_others_have_taken_for_lost(
    supervisor: Supervisor, others: Journal
) -> None:
    first_name = supervisor.worker
    running, busy = start(supervisor, forever)
    async with asyncio.timeout(30):
        await busy.started.wait()
    await lapse(first_name)  # The process was paused.
    assert (await others.write(Sweep(), within=30)).runs == 1
    run, agent = start(supervisor, answer)
    row = await closed(run)
    assert not agent.started.is_set(), "a run that others are entitled to sweep"
    assert (row.status, row.error_code) == (RunStatus.FAILED, "database_unavailable")
    assert (await closed(running)).abort_cause == AbortCause.WORKER_LOST
    # The refusal itself has led to a new name, long before the next renewal.
    await until(lambda: supervisor.worker != first_name, within=30)
    again, agent = start(supervisor, answer)
    row = await closed(again)
    assert (row.status, row.worker) == (RunStatus.COMPLETED, supervisor.worker)
    assert (await others.write(Sweep(), within=30)).runs == 0


async def test_a_run_renews_a_lease_that_lapsed_and_that_nobody_has_noticed(
    supervisor: Supervisor, others: Journal
) -> None:
    await lapse(supervisor.worker)
    run, agent = start(supervisor, forever)
    async with asyncio.timeout(30):
        await agent.started.wait()
    assert await others.write(Sweep(), within=30) == (0, 0)
    worker = await Worker.objects.aget(pk=supervisor.worker)
    assert worker.lease_until > clock.now() + timedelta(seconds=LEASE_SECONDS - 10)
    run.abort(AbortCause.CLIENT_DISCONNECT)
    await closed(run)


async def test_a_keeper_sweeps_others_once_the_database_has_answered_for_a_while(
    tmp_path: Path, others: Journal
) -> None:
    dead = make_record(worker=ids.uuid7().hex)
    for change in (RenewLease(dead.worker, LEASE_SECONDS), InsertRun(dead)):
        await others.write(change, within=30)
    await lapse(dead.worker)
    journal = Journal("default", spill=tmp_path)
    keeper = LeaseKeeper(journal, worker=ids.uuid7().hex, seconds=0.6, on_lost=lambda: pytest.fail("it lives"))
    keeper.start()
    await until(Run.objects.filter(pk=dead.id, abort_cause=AbortCause.WORKER_LOST).aexists)
    await keeper.stop()
    assert await asyncio.to_thread(journal.stop, 30)


class Hang:
    """A change for which the database takes longer than a lease lasts."""

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        time.sleep(1)


async def test_a_keeper_whose_sweep_had_to_wait_takes_nobody_for_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, hung = Journal("default", spill=tmp_path), asyncio.Event()
    submit = journal.submit

    def hang_before_a_sweep(change: Change) -> asyncio.Future[object]:
        if isinstance(change, Sweep) and not hung.is_set():
            submit(Hang())
            hung.set()
        return submit(change)

    monkeypatch.setattr(journal, "submit", hang_before_a_sweep)
    name = ids.uuid7().hex
    keeper = LeaseKeeper(journal, worker=name, seconds=0.6, on_lost=lambda: pytest.fail("it lives"))
    keeper.start()
    async with asyncio.timeout(30):
        await hung.wait()
    before = (await Worker.objects.aget(pk=name)).lease_until
    await until(Worker.objects.filter(pk=name, lease_until__gt=before + timedelta(seconds=1)).aexists)
    await keeper.stop()
    assert await asyncio.to_thread(journal.stop, 30)
    assert (await Worker.objects.aget(pk=name)).lost_at is None


async def test_a_keeper_whose_lease_was_lost_registers_a_new_name_at_once_and_keeps_it(
    tmp_path: Path, others: Journal
) -> None:
    names = [ids.uuid7().hex for _ in range(3)]
    lost: list[str] = []

    def on_lost() -> str:
        lost.append(names[len(lost)])
        return names[len(lost)]

    journal = Journal("default", spill=tmp_path)
    keeper = LeaseKeeper(journal, worker=names[0], seconds=3, on_lost=on_lost)
    keeper.start()
    for name in names[:2]:
        await registered(name)
        await taken_for_lost(name, others)
    await registered(names[2])
    assert lost == names[:2]
    first = (await Worker.objects.aget(pk=names[2])).lease_until
    await until(Worker.objects.filter(pk=names[2], lease_until__gt=first).aexists)
    await keeper.stop()
    assert await asyncio.to_thread(journal.stop, 30)
    [*ended, last] = [await Worker.objects.aget(pk=name) for name in names]
    assert [worker.ended_at for worker in ended] == [None, None]
    assert all(worker.lost_at for worker in ended)
    assert last.ended_at is not None
    assert last.lost_at is None
