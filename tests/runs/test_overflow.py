"""A database that hangs: what waits in memory is bounded, no end is lost, the order is kept."""

import asyncio
import errno
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from gateway_project import clock
from gateway_project.runs.journal import Change, CloseRun, InsertRun, Journal, JournalUnavailable, Note, Query, StartRun
from gateway_project.runs.journal.spill import orphans
from gateway_project.runs.models import Run
from gateway_project.runs.record import NoteRecord, RunRecord
from gateway_project.runs.vocabulary import NoteKind, RunStatus
from tests.runs.records import make_record
from tests.runs.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

CAPACITY = 5


class Hanging:
    """A change at which the writer hangs until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.reached = threading.Event()

    def apply(self, connection: Any) -> None:
        self.reached.set()
        assert self.released.wait(60)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal("default", spill=tmp_path, capacity=CAPACITY, retry_seconds=0.01)
    yield made
    assert made.stop(30)
    assert list(tmp_path.iterdir()) == [], "everything that was put aside was replayed"


async def hang(journal: Journal, *first: Change) -> Hanging:
    """The database hangs, and as many changes wait as may: `first`, then questions."""
    hanging = Hanging()
    journal.submit(hanging)
    await asyncio.to_thread(hanging.reached.wait, 60)
    for change in (*first, *[Query(lambda connection: None)] * (CAPACITY - 1 - len(first))):
        journal.submit(change)
    assert journal.waiting == CAPACITY
    return hanging


def away(changes: object) -> None:
    """The database is gone."""
    raise OperationalError("server closed the connection unexpectedly")


async def recover(journal: Journal, hanging: Hanging) -> None:
    hanging.released.set()
    await until(lambda: not (journal.waiting or journal._overflow.pending or journal._spill.pending))


def ended(record: RunRecord, status: RunStatus = RunStatus.COMPLETED) -> RunRecord:
    return replace(record, status=status, finished_at=clock.now())


async def test_at_the_bound_ends_go_to_disk_and_everything_else_is_refused(journal: Journal, tmp_path: Path) -> None:
    running = make_record()
    await journal.write(InsertRun(running), within=30)
    hanging = await hang(journal)
    new = make_record()
    for change in (Query(lambda connection: None), InsertRun(new)):
        with pytest.raises(JournalUnavailable, match="too many"):
            await journal.write(change, within=30)
    note = NoteRecord(run_id=running.id, at=clock.now(), kind=NoteKind.TOOL, text="search")
    assert await journal.write(Note(note), within=30)
    assert await journal.write(CloseRun(ended(running)), within=30) is True, "an end on disk is an end"
    assert await journal.write(CloseRun(ended(new, RunStatus.FAILED)), within=30) is True
    assert journal.waiting == CAPACITY
    assert len(list(tmp_path.glob("*.spill"))) == 1
    await recover(journal, hanging)
    runs = {run.pk: run.status async for run in Run.objects.all()}
    assert runs == {running.id: RunStatus.COMPLETED, new.id: RunStatus.FAILED}
    assert await journal.write(InsertRun(make_record()), within=30) is None


async def test_the_order_is_kept_from_the_queue_over_the_file_and_back_to_the_queue(
    journal: Journal, tmp_path: Path
) -> None:
    records = [make_record(status=RunStatus.QUEUED) for _ in range(3)]
    hanging = await hang(journal, *map(InsertRun, records))
    for record in records:
        journal.submit(StartRun(replace(record, status=RunStatus.RUNNING)))
    hanging.released.set()
    # From here on the queue has room again, but the file must be written first.
    futures = [journal.submit(CloseRun(ended(record))) for record in records]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*futures) == [True] * 3
    await recover(journal, hanging)
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 3


async def test_a_disk_that_is_full_too_costs_no_end(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = make_record()
    await journal.write(InsertRun(running), within=30)
    hanging = await hang(journal)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    new = make_record()
    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        refused = journal.submit(InsertRun(new))
        futures = [journal.submit(CloseRun(ended(record))) for record in (running, new)]
        assert "journal.overflow_failed" in caplog.messages
        await asyncio.sleep(0)
        assert not any(future.done() for future in futures)
    await recover(journal, hanging)
    async with asyncio.timeout(30):
        assert await asyncio.gather(*futures) == [True, True]
        await refused
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 2


async def test_what_cannot_be_written_down_is_refused_to_whoever_awaits_it(journal: Journal) -> None:
    running = make_record()
    await journal.write(InsertRun(running), within=30)
    hanging = await hang(journal)
    note = journal.submit(Note(NoteRecord(run_id=running.id, at=clock.now(), kind=NoteKind.TOOL, text=object())))  # type: ignore[arg-type]
    end = journal.submit(CloseRun(replace(ended(running), finish_reason=object())))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await note
    assert await end is True
    await recover(journal, hanging)
    assert (await Run.objects.aget(pk=running.id)).status == RunStatus.COMPLETED


async def test_where_so_configured_runs_start_at_the_bound_too(tmp_path: Path) -> None:
    journal = Journal("default", spill=tmp_path, capacity=CAPACITY, retry_seconds=0.01, accept_spilled=True)
    hanging = await hang(journal)
    record = make_record()
    assert await journal.write(InsertRun(record), within=30) is True
    await recover(journal, hanging)
    assert await Run.objects.filter(pk=record.id).aexists()
    assert await asyncio.to_thread(journal.stop, 30)


async def test_what_was_put_aside_is_there_for_the_next_if_the_process_dies_now(
    journal: Journal, tmp_path: Path
) -> None:
    hanging = await hang(journal)
    record = make_record()
    journal.submit(InsertRun(record))
    end = ended(record)
    journal.submit(CloseRun(end))
    [path] = tmp_path.glob("*.spill")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "dead.spill").write_bytes(path.read_bytes())
    [(found, changes)] = orphans(tmp_path / "copy")
    assert changes == [InsertRun(record), CloseRun(end)]
    found.unlink()
    (tmp_path / "copy").rmdir()
    await recover(journal, hanging)


@pytest.mark.parametrize("before", [0, 1], ids=["at first", "when the files have changed places"])
async def test_what_a_dead_process_had_queued_is_written_before_what_it_had_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    journal = Journal("default", spill=tmp_path, capacity=CAPACITY, retry_seconds=0.01)
    for _ in range(before):
        hanging = await hang(journal)
        journal.submit(CloseRun(ended(make_record())))
        await recover(journal, hanging)
    record = make_record()
    hanging = await hang(journal, InsertRun(record))
    assert await journal.write(CloseRun(ended(record)), within=30) is True, "an end on disk is an end"
    monkeypatch.setattr(journal, "_apply", away)
    hanging.released.set()
    await until(lambda: not journal.waiting)
    assert len(list(tmp_path.glob("*.spill"))) == 2
    assert await asyncio.to_thread(journal.stop, 30)
    following = Journal("default", spill=tmp_path, retry_seconds=0.01)
    await following.write(Query(lambda connection: None), within=30)
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.COMPLETED
    assert await asyncio.to_thread(following.stop, 30)


async def test_what_comes_after_a_stop_is_written_after_what_the_stop_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal("default", spill=tmp_path, capacity=CAPACITY, retry_seconds=0.01)
    hanging = await hang(journal)
    record = make_record()
    journal.submit(InsertRun(record))  # Put aside.
    journal.submit(InsertRun(make_record()))
    monkeypatch.setattr(journal, "_apply", away)
    stopping = asyncio.ensure_future(asyncio.to_thread(journal.stop, 30))
    hanging.released.set()
    assert await stopping
    assert await journal.write(CloseRun(ended(record)), within=30) is True
    assert await asyncio.to_thread(journal.stop, 30)
    assert [type(changes[0]) for _, changes in orphans(tmp_path)] == [InsertRun, CloseRun]
