"""The journal's promises: durable when it says so, in order, nothing lost with a bad neighbour."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InternalError, OperationalError, ProgrammingError

from gateway_project import clock
from gateway_project.observe.logs import JSONFormatter
from gateway_project.runs.journal import Change, CloseRun, InsertRun, Journal, JournalUnavailable, Query
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.vocabulary import TRANSITIONS, RunStatus
from tests.runs.records import make_record
from tests.runs.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


class CountingJournal(Journal):
    """Remembers the batches that it commits."""

    def __init__(self, alias: str, **options: Any) -> None:
        super().__init__(alias, **options)
        self.batches: list[int] = []

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        results = super()._apply(changes)
        self.batches.append(len(changes))
        return results


@dataclass
class Gate:
    """A change at which the writer waits until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def apply(self, connection: Any) -> None:
        self.reached.set()
        assert self.opened.wait(60)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[CountingJournal]:
    made = CountingJournal("default", spill=tmp_path, capacity=200, retry_seconds=0.01)
    yield made
    assert made.stop(30)
    assert list(tmp_path.iterdir()) == [], "everything that was spilled was replayed"


async def test_a_change_is_durable_when_write_returns(journal: Journal) -> None:
    record = make_record()
    await journal.write(InsertRun(record), within=30)
    assert await Run.objects.filter(pk=record.id).aexists()


async def test_changes_that_wait_share_a_commit_and_keep_their_order(journal: CountingJournal) -> None:
    gate = Gate()
    journal.submit(gate)
    await asyncio.to_thread(gate.reached.wait, 60)
    records = [make_record() for _ in range(50)]
    ends = [replace(record, status=RunStatus.COMPLETED) for record in records]
    inserts = [journal.submit(InsertRun(record)) for record in records]
    closes = [journal.submit(CloseRun(end)) for end in ends]
    gate.opened.set()
    await asyncio.gather(*inserts)
    assert all(await asyncio.gather(*closes))
    assert journal.batches == [1, 100]
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 50


async def test_a_bad_change_costs_only_itself(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    journal.submit(gate)
    record, bad, other = make_record(), make_record(output_tokens=-1), make_record()
    futures = [journal.submit(InsertRun(r)) for r in (record, bad, other)]
    gate.opened.set()
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), IntegrityError, type(None)]
    assert await Run.objects.acount() == 2
    assert [record.message for record in caplog.records] == ["journal.change_refused"]


@pytest.mark.parametrize("error", [IntegrityError, DataError])
async def test_the_log_of_a_refusal_does_not_show_the_row(
    error: type[Exception], journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    class Refused:
        def apply(self, _: object) -> None:
            raise error("violates a constraint\nDETAIL:  Failing row contains (what nobody shall read).")

    with pytest.raises(error):
        await journal.write(Refused(), within=30)
    [record] = caplog.records
    assert "violates a constraint" in JSONFormatter().format(record)
    assert "nobody" not in JSONFormatter().format(record)


async def test_an_end_that_the_database_refuses_is_written_with_the_bare_minimum(journal: Journal) -> None:
    record = make_record()
    await journal.write(InsertRun(record), within=30)
    end = replace(record, status=RunStatus.COMPLETED, finished_at=record.started_at, output_tokens=-1, model="m")
    assert await journal.write(CloseRun(end), within=30) is True
    run = await Run.objects.aget(pk=record.id)
    assert (run.status, run.error_code, run.output_tokens) == (RunStatus.COMPLETED, "record_refused", None)


class Disturbed(CountingJournal):
    """A journal whose transactions fail for a while, with an SQLSTATE of PostgreSQL's."""

    sqlstate = ""
    times = 0

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        if self.times:
            self.times -= 1
            cause = Exception()
            cause.sqlstate = self.sqlstate  # type: ignore[attr-defined]
            raise OperationalError("canceling statement") from cause
        return super()._apply(changes)


@pytest.fixture
def disturbed(tmp_path: Path) -> Iterator[Disturbed]:
    made = Disturbed("default", spill=tmp_path, retry_seconds=0.01)
    yield made
    made.times = 0
    assert made.stop(30)


@pytest.mark.parametrize(
    "sqlstate",
    [
        pytest.param("40P01", id="deadlock detected"),
        pytest.param("40001", id="serialization failure"),
        pytest.param("55P03", id="lock not available"),
        pytest.param("57014", id="query canceled"),
    ],
)
async def test_a_transaction_that_was_in_anothers_way_is_tried_again(
    disturbed: Disturbed, caplog: pytest.LogCaptureFixture, sqlstate: str
) -> None:
    disturbed.sqlstate, disturbed.times = sqlstate, 2
    record = make_record()
    assert await disturbed.write(InsertRun(record), within=30) is None
    assert await Run.objects.filter(pk=record.id).aexists()
    assert disturbed.available
    assert caplog.messages == ["journal.tried_again"] * 2


@pytest.mark.parametrize(
    ("sqlstate", "tried_again"),
    [pytest.param("40P01", 2, id="again and again"), pytest.param("57P01", 0, id="it shuts down")],
)
async def test_a_database_that_lets_nothing_through_counts_as_away(
    disturbed: Disturbed, caplog: pytest.LogCaptureFixture, sqlstate: str, tried_again: int
) -> None:
    disturbed.sqlstate, disturbed.times = sqlstate, tried_again + 1
    with pytest.raises(JournalUnavailable):
        await disturbed.write(InsertRun(make_record()), within=30)
    assert caplog.messages.count("journal.tried_again") == tried_again
    assert "journal.database_unavailable" in caplog.messages


async def test_the_same_change_twice_is_one(journal: Journal) -> None:
    record = make_record()
    end = replace(record, status=RunStatus.COMPLETED, finished_at=record.started_at)
    for change in (InsertRun(record), InsertRun(record), CloseRun(end), CloseRun(end)):
        await journal.write(change, within=30)
    run = await Run.objects.aget(pk=record.id)
    assert run.status == RunStatus.COMPLETED
    assert await run.notes.acount() == 0


async def test_write_says_so_when_the_database_does_not_answer_in_time(journal: Journal) -> None:
    gate = Gate()
    journal.submit(gate)
    record = make_record()
    with pytest.raises(JournalUnavailable, match="does not answer"):
        await journal.write(InsertRun(record), within=0.05)
    gate.opened.set()
    await journal.write(Query(lambda connection: None), within=30)
    assert await Run.objects.filter(pk=record.id).aexists(), "the change itself must not be lost"


async def test_whoever_awaits_may_leave_without_taking_the_change_along(journal: Journal) -> None:
    gate = Gate()
    journal.submit(gate)
    record = make_record()
    waiting = asyncio.ensure_future(journal.write(InsertRun(record), within=30))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.opened.set()
    await journal.write(Query(lambda connection: None), within=30)
    assert await Run.objects.filter(pk=record.id).aexists()


async def test_stop_writes_what_waits(tmp_path: Path) -> None:
    journal = Journal("default", spill=tmp_path)
    records = [make_record() for _ in range(20)]
    for record in records:
        journal.submit(InsertRun(record))
    assert await asyncio.to_thread(journal.stop, 30)
    assert await Run.objects.acount() == 20


async def test_what_comes_while_the_thread_ends_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal("default", spill=tmp_path)
    await journal.write(InsertRun(make_record()), within=30)
    ending, go_on = threading.Event(), threading.Event()

    def close() -> None:
        ending.set()
        assert go_on.wait(60)

    monkeypatch.setattr(journal._spill, "close", close)
    stopping = asyncio.create_task(asyncio.to_thread(journal.stop, 30))  # noqa: TID251
    await asyncio.to_thread(ending.wait, 60)
    record = make_record()
    written = journal.submit(InsertRun(record))
    go_on.set()
    async with asyncio.timeout(30):
        await written
    assert await stopping
    assert await Run.objects.filter(pk=record.id).aexists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_what_comes_after_the_thread_has_ended_or_died_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(Journal):
        dies = False

        def _handle(self, batch: Any) -> None:
            if self.dies:
                self.dies = False
                raise SystemExit
            super()._handle(batch)

    journal = Dying("default", spill=tmp_path)
    journal.dies = True
    first = journal.submit(InsertRun(make_record()))
    await until(lambda: journal._thread is None)
    async with asyncio.timeout(30):
        await journal.submit(InsertRun(make_record()))
        await first
        assert await asyncio.to_thread(journal.stop, 30)
        await journal.submit(InsertRun(make_record()))
    assert await Run.objects.acount() == 3
    assert await asyncio.to_thread(journal.stop, 30)


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, "no_such_status"])
async def test_no_row_begins_with_a_status_that_only_follows_another(journal: Journal, status: str) -> None:
    with pytest.raises(ValueError, match="no row begins as"):
        await journal.write(InsertRun(make_record(status=status)), within=30)
    assert not await Run.objects.aexists()


@pytest.mark.parametrize("status", sorted(status for status in RunStatus if status in TRANSITIONS[None]))
async def test_a_row_begins_with_each_status_that_the_table_allows(journal: Journal, status: RunStatus) -> None:
    record = make_record(status=status)
    await journal.write(InsertRun(record), within=30)
    assert (await Run.objects.aget(pk=record.id)).status == status


class Refusing(Journal):
    """Writes no record of a run as long as its database refuses whatever is written, in PostgreSQL's words."""

    refusal: Exception | None = None
    sqlstate = ""

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        if self.refusal is not None and any(isinstance(change, InsertRun | CloseRun) for change in changes):
            cause = Exception()
            cause.sqlstate = self.sqlstate  # type: ignore[attr-defined]  # as psycopg's have
            raise self.refusal from cause
        return super()._apply(changes)


@pytest.mark.parametrize(
    ("refusal", "sqlstate"),
    [
        (InternalError("cannot execute UPDATE in a read-only transaction"), "25006"),
        (InternalError("terminating connection due to transaction timeout"), "25P04"),
        (ProgrammingError("permission denied for table gateway_run"), "42501"),
        (ProgrammingError("column given.tokens_sent does not exist"), "42703"),
    ],
)
async def test_an_end_that_the_database_does_not_take_now_is_written_when_it_does(
    tmp_path: Path, refusal: Exception, sqlstate: str
) -> None:
    journal = Refusing("default", spill=tmp_path, retry_seconds=0.01)
    record = make_record()
    await journal.write(InsertRun(record), within=30)
    journal.refusal, journal.sqlstate = refusal, sqlstate
    end = replace(record, status=RunStatus.COMPLETED, finished_at=record.received_at)
    await journal.write(CloseRun(end), within=30)
    assert not journal.available
    assert (await Run.objects.aget(pk=record.id)).is_open
    journal.refusal = None
    await until(lambda: journal.available)
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.COMPLETED
    assert await asyncio.to_thread(journal.stop, 30)
    assert list(tmp_path.iterdir()) == []


async def test_a_run_whose_beginning_the_database_does_not_take_now_is_refused_and_recorded_when_it_does(
    tmp_path: Path,
) -> None:
    journal = Refusing("default", spill=tmp_path, retry_seconds=0.01)
    journal.refusal, journal.sqlstate = ProgrammingError("column given.tokens_sent does not exist"), "42703"
    record = make_record()
    with pytest.raises(JournalUnavailable):
        await journal.write(InsertRun(record), within=10)
    journal.submit(CloseRun(replace(record, status=RunStatus.FAILED, finished_at=record.received_at)))
    journal.refusal = None
    await until(lambda: journal.available and not journal.waiting)
    run = await Run.objects.aget(pk=record.id)
    assert run.status == RunStatus.FAILED
    assert not await RunNote.objects.aexists()
    assert await asyncio.to_thread(journal.stop, 10)


async def test_what_waits_for_a_database_that_hangs_is_left_to_the_next_process(tmp_path: Path) -> None:
    journal, gate = Journal("default", spill=tmp_path, capacity=3), Gate()
    records = [make_record() for _ in range(2)]
    journal.submit(gate)
    await asyncio.to_thread(gate.reached.wait, 10)
    for record in records:
        journal.submit(InsertRun(record))
    ends = [CloseRun(replace(record, status=RunStatus.COMPLETED, finished_at=clock.now())) for record in records]
    for end in ends:  # for which the queue has no room
        journal.submit(end)
    assert await asyncio.to_thread(journal.stop, 0.01)
    left = [record for path in sorted(tmp_path.iterdir()) for record in path.read_text().splitlines()]
    assert [json.loads(record.partition(" ")[2])[0] for record in left] == ["InsertRun"] * 2 + ["CloseRun"] * 2
    gate.opened.set()
    await until(lambda: journal._thread is None)
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 2
    assert journal._left is not None
    journal._left.close()
    following = Journal("default", spill=tmp_path)
    await following.write(Query(lambda connection: None), within=10)
    assert await asyncio.to_thread(following.stop, 10)
    assert list(tmp_path.iterdir()) == []
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 2
    assert not await RunNote.objects.aexists()
