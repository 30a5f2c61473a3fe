"""``manage.py sweepruns``: what it closes, what it says, and that several at a time do no harm."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from gateway_project import clock, ids
from gateway_project.runs.journal import CloseRun, InsertRun, Journal
from gateway_project.runs.journal.spill import Spill, spill_folder
from gateway_project.runs.lease import RenewLease, Sweep
from gateway_project.runs.models import Run, RunNote, Worker
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """The spill folder of the test database."""
    settings.GATEWAY = settings.GATEWAY | {"SPILL_DIR": str(tmp_path)}
    return spill_folder(str(tmp_path), "default")


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    yield
    assert not [t for t in threading.enumerate() if t.name == "gateway-journal"], "a journal that was not stopped"


def sweepruns() -> str:
    out = StringIO()
    call_command("sweepruns", stdout=out)
    return out.getvalue()


def lost_run(**changes: Any) -> RunRecord:
    """A running run whose worker's lease has lapsed."""
    record = make_record(worker=ids.uuid7().hex, **changes)
    RenewLease(record.worker, 15).apply(connection)
    Worker.objects.filter(pk=record.worker).update(lease_until=clock.now() - timedelta(seconds=1))
    InsertRun(record).apply(connection)
    return record


def ended(record: RunRecord) -> RunRecord:
    fields = {name: getattr(record, name) for name in RunRecord.__slots__}
    return RunRecord(**(fields | {"status": RunStatus.COMPLETED, "finished_at": clock.now()}))


def test_it_closes_what_a_lost_worker_left_and_says_so(folder: Path) -> None:
    record = lost_run()
    assert sweepruns() == (
        "Closed 1 run of lost workers as aborted / worker_lost / unknown. Newly found lost: 1 worker.\n"
    )
    run = Run.objects.get(pk=record.id)
    assert (run.status, run.abort_cause, run.abort_outcome) == ("aborted", "worker_lost", "unknown")
    assert sweepruns() == "Nothing to close: no worker's lease has lapsed, and no lost worker has an open run.\n"
    assert Run.objects.get(pk=record.id).finished_at == run.finished_at


def test_a_real_end_in_a_spill_file_is_not_lost_behind_the_sweep(folder: Path) -> None:
    finished, lost = lost_run(), lost_run()
    left = Spill(folder)
    left.append([CloseRun(ended(finished))])
    left.close()
    assert sweepruns() == (
        "Wrote 1 record that dead processes had left in spill files.\n"
        "Closed 1 run of lost workers as aborted / worker_lost / unknown. Newly found lost: 2 workers.\n"
    )
    assert Run.objects.get(pk=finished.id).status == RunStatus.COMPLETED
    assert Run.objects.get(pk=lost.id).abort_cause == "worker_lost"
    assert not RunNote.objects.exists()
    assert list(folder.iterdir()) == []


def test_a_file_that_another_process_has_begun_to_replay_is_replayed_before_the_sweep_too(folder: Path) -> None:
    record = lost_run()
    left = Spill(folder)
    left.append([CloseRun(ended(record))])
    left.close()
    [path] = folder.iterdir()
    path.rename(path.with_suffix(".orphan"))  # Begun, and not done: that process may be paused, or dead.
    sweepruns()
    assert Run.objects.get(pk=record.id).status == RunStatus.COMPLETED
    assert not RunNote.objects.exists()


async def test_a_living_process_replays_a_dead_ones_file_before_each_sweep(tmp_path: Path) -> None:
    journal = Journal("default", spill=tmp_path)
    await journal.write(Sweep(), within=30)
    record = await sync_to_async(lost_run)()
    left = Spill(tmp_path)
    left.append([CloseRun(ended(record))])
    left.close()
    swept = await journal.write(Sweep(), within=30)
    assert (swept.workers, swept.runs) == (1, 0)
    run = await Run.objects.aget(pk=record.id)
    assert (run.status, await run.notes.acount()) == (RunStatus.COMPLETED, 0)
    assert await asyncio.to_thread(journal.stop, 30)


def test_several_sweeps_at_a_time_close_each_run_once(tmp_path: Path) -> None:
    records = [lost_run() for _ in range(40)]
    for n in range(0, 20, 10):
        left = Spill(tmp_path)
        left.append(CloseRun(ended(record)) for record in records[n : n + 10])
        left.close()

    async def sweep_all() -> int:
        journals = [Journal("default", spill=tmp_path) for _ in range(4)]
        swept = await asyncio.gather(*(journal.write(Sweep(), within=30) for journal in journals))
        for journal in journals:
            assert await asyncio.to_thread(journal.stop, 30)
        return sum(result.runs for result in swept)

    assert asyncio.run(sweep_all()) == 20
    causes = dict(Run.objects.values_list("pk", "abort_cause"))
    assert [causes[record.id] for record in records] == [""] * 20 + ["worker_lost"] * 20
    assert not RunNote.objects.exists(), "somebody closed a run that was closed already"


def test_a_database_that_does_not_answer_is_said_clearly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise OperationalError("connection refused\n\tIs the server running?")

    monkeypatch.setattr(Journal, "_apply", away)
    with pytest.raises(CommandError, match=r"Nothing was swept.*connection refused"):
        sweepruns()
