"""While the database is away nothing is lost: not by waiting, not by dying, not by a torn tail."""

import asyncio
import errno
import fcntl
import json
import multiprocessing
import os
import resource
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

from gateway_project import clock
from gateway_project.runs.journal import (
    CallAgent,
    Change,
    CloseRun,
    InsertRun,
    Journal,
    JournalUnavailable,
    Note,
    Query,
    StartRun,
)
from gateway_project.runs.journal.spill import Spill, orphans, spill_folder
from gateway_project.runs.models import Run
from gateway_project.runs.record import NoteRecord, RunRecord
from gateway_project.runs.vocabulary import NoteKind, RunStatus
from tests.runs.records import make_record
from tests.runs.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


class MoodyJournal(Journal):
    """A journal whose database comes and goes."""

    away = False

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        if self.away:
            raise OperationalError("server closed the connection unexpectedly")
        return super()._apply(changes)


Make = Callable[..., MoodyJournal]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[MoodyJournal] = []

    def make(spill: Path = tmp_path, **options: Any) -> MoodyJournal:
        made.append(MoodyJournal("default", spill=spill, retry_seconds=0.01, **options))
        return made[-1]

    yield make
    for journal in made:
        journal.away = False
        assert journal.stop(30)


def ended(record: RunRecord) -> RunRecord:
    return replace(record, status=RunStatus.COMPLETED, finished_at=clock.now())


async def settle(journal: Journal) -> None:
    """Wait until all that waits is in the database."""
    async with asyncio.timeout(30):
        while True:
            try:
                await journal.write(Query(lambda connection: None), within=30)
            except JournalUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def test_running_runs_get_their_end_when_the_database_is_back(make: Make, tmp_path: Path) -> None:
    journal = make()
    record = make_record()
    await journal.write(InsertRun(record), within=30)
    journal.away = True
    note = NoteRecord(run_id=record.id, at=clock.now(), kind=NoteKind.TOOL, text="search")
    assert await journal.write(Note(note), within=30)
    assert await journal.write(CloseRun(ended(record)), within=30) is True, "an end on disk is an end"
    assert journal.available is False
    assert len(list(tmp_path.iterdir())) == 1
    journal.away = False
    await settle(journal)
    run = await Run.objects.aget(pk=record.id)
    assert run.status == RunStatus.COMPLETED
    assert [note.text async for note in run.notes.all()] == ["search"]
    assert list(tmp_path.iterdir()) == []


async def test_new_runs_are_refused_but_not_forgotten(make: Make) -> None:
    journal = make()
    journal.away = True
    record = make_record()
    with pytest.raises(JournalUnavailable):
        await journal.write(InsertRun(record), within=30)
    journal.submit(CloseRun(replace(record, status=RunStatus.FAILED, finished_at=clock.now())))
    journal.away = False
    await settle(journal)
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.FAILED


async def test_new_runs_are_accepted_where_so_configured(make: Make) -> None:
    journal = make(accept_spilled=True)
    journal.away = True
    record = make_record(status=RunStatus.QUEUED)
    await journal.write(InsertRun(record), within=30)
    started = replace(record, status=RunStatus.RUNNING, started_at=None)
    assert await journal.write(StartRun(started), within=30) is True
    assert await journal.write(CallAgent(replace(started, started_at=clock.now())), within=30) is True
    await journal.write(CloseRun(ended(record)), within=30)
    journal.away = False
    await settle(journal)
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.COMPLETED


async def test_what_a_dead_process_left_is_written_by_the_next(tmp_path: Path, make: Make) -> None:
    record = make_record()
    left = Spill(tmp_path)
    left.append([InsertRun(record), CloseRun(ended(record))])
    next_one = make()
    await settle(next_one)
    assert not await Run.objects.filter(pk=record.id).aexists(), "its owner lives: its lock says so"
    left.close()
    another = make()
    await settle(another)
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.COMPLETED
    assert list(tmp_path.iterdir()) == []


def test_of_several_who_find_a_dead_ones_file_none_takes_another_for_its_owner(tmp_path: Path) -> None:
    left = Spill(tmp_path)
    left.append([InsertRun(make_record())])
    left.close()
    [path] = tmp_path.iterdir()
    with path.open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_SH)  # It is about to rename the file.
        assert len(list(orphans(tmp_path))) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_outlives_its_parent_does_not_keep_the_file_from_being_found(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.append([CloseRun(ended(make_record()))])
    assert list(orphans(tmp_path)) == [], "its owner lives"
    fork = multiprocessing.get_context("fork")
    runs = fork.Event()

    def live_on() -> None:
        runs.set()
        time.sleep(60)

    child = fork.Process(target=live_on)
    child.start()  # As an agent may do.
    try:
        assert runs.wait(60)
        assert list(orphans(tmp_path)) == [], "its owner lives on"
        spill.close()  # All that is left of an owner who dies.
        [(_, changes)] = orphans(tmp_path)
        assert len(changes) == 1
    finally:
        child.kill()
        child.join()


def test_a_file_that_was_taken_for_a_dead_ones_before_it_was_locked_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_overtaken(handle: object, how: int) -> None:
        monkeypatch.undo()
        assert list(orphans(tmp_path)) != []

    monkeypatch.setattr("fcntl.flock", be_overtaken)
    spill = Spill(tmp_path)
    record = make_record()
    spill.append([InsertRun(record)])
    assert spill.waiting(10)[0] == [InsertRun(record)]
    assert len(list(tmp_path.glob("*.spill"))) == 1
    spill.close()


async def test_a_replay_that_was_interrupted_is_repeated_without_harm(tmp_path: Path, make: Make) -> None:
    record = make_record()
    changes: list[InsertRun | CloseRun] = [InsertRun(record), CloseRun(ended(record))]
    first = make()
    for change in changes:
        await first.write(change, within=30)
    left = Spill(tmp_path)
    left.append(iter(changes))
    left.close()
    await settle(make())
    run = await Run.objects.aget(pk=record.id)
    assert (run.status, await run.notes.acount()) == (RunStatus.COMPLETED, 0)


@pytest.mark.parametrize("torn", [1, 20, 200])
def test_a_torn_tail_costs_only_itself(tmp_path: Path, torn: int) -> None:
    records = [make_record(parameters={"n": n}, user_agent="ä\u2028") for n in range(3)]
    left = Spill(tmp_path)
    left.append(map(InsertRun, records))
    left.close()
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-torn])
    [(_, changes)] = orphans(tmp_path)
    assert changes == [InsertRun(record) for record in records[:2]]


async def test_a_damaged_record_does_not_hold_up_the_living(make: Make, tmp_path: Path) -> None:
    journal = make()
    journal.away = True
    first, damaged = make_record(), make_record()
    for record in (first, damaged):
        with pytest.raises(JournalUnavailable):
            await journal.write(InsertRun(record), within=30)
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    journal.away = False
    await settle(journal)
    assert await Run.objects.filter(pk=first.id).aexists()
    assert not await Run.objects.filter(pk=damaged.id).aexists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "values"),
    [
        pytest.param("InsertGone", {}, id="of an app that is gone"),
        pytest.param("InsertRun", {"status": "running"}, id="without what every record has"),
        pytest.param("InsertRun", {"id": "x"}, id="with what cannot be read"),
        pytest.param("InsertRun", None, id="with nothing"),
    ],
)
async def test_a_record_that_says_nothing_to_this_process_is_set_aside_and_the_others_are_written(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture, change: str, values: Any
) -> None:
    records = [make_record() for _ in range(2)]
    left = Spill(tmp_path)
    left.append(map(InsertRun, records))
    left.close()
    [path] = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines(keepends=True)
    unknown = line_of([change, values])
    path.write_bytes(first + unknown + second)
    await settle(make())
    assert await Run.objects.acount() == 2
    [aside] = tmp_path.iterdir()
    assert (aside.suffix, aside.read_bytes()) == (".unknown", unknown)
    assert "spill.unknown_record" in caplog.messages


def test_a_column_that_is_gone_costs_no_record(tmp_path: Path) -> None:
    record = make_record()
    left = Spill(tmp_path)
    left.append([InsertRun(record)])
    left.close()
    [path] = tmp_path.iterdir()
    name, values = json.loads(path.read_bytes().partition(b" ")[2])
    path.write_bytes(line_of([name, values | {"mood": "good"}]))
    [(_, changes)] = orphans(tmp_path)
    assert changes == [InsertRun(record)]


def line_of(content: Any) -> bytes:
    """A whole line of a spill file."""
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def test_a_flipped_bit_ends_the_file(tmp_path: Path) -> None:
    left = Spill(tmp_path)
    left.append(InsertRun(make_record()) for _ in range(3))
    left.close()
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    [(_, changes)] = orphans(tmp_path)
    assert len(changes) == 1


def test_what_is_spilled_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.extend(p.stat().st_size for p in tmp_path.iterdir()))
    spill = Spill(tmp_path)
    spill.append([InsertRun(make_record())])
    spill.close()
    [path] = tmp_path.iterdir()
    assert synced[-1] == path.stat().st_size > 0


def test_what_a_full_disk_took_in_part_is_taken_back(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    first, refused, later = (InsertRun(make_record()) for _ in range(3))
    spill.append([first])
    [path] = tmp_path.iterdir()
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel takes a part of the record and refuses the rest, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            spill.append([refused])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == size
    spill.append([later])
    assert spill.waiting(10)[0] == [first, later]
    spill.close()


@pytest.mark.parametrize("call", ["os.fsync", "os.open"])
async def test_an_end_that_the_full_disk_refuses_waits_for_one_of_the_two(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    journal = make()
    record = make_record()
    await journal.write(InsertRun(record), within=30)

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(call, full)
        journal.away = True
        end = journal.submit(CloseRun(ended(record)))
        await until(lambda: caplog.messages.count("journal.spill_failed") > 2)
        assert not end.done(), "neither in the database nor on the disk"
        journal.away = False
        assert await end is True
    assert (await Run.objects.aget(pk=record.id)).status == RunStatus.COMPLETED
    await settle(journal)
    assert list(tmp_path.iterdir()) == []


class Mood(Enum):
    """What JSON cannot say."""

    GOOD = "good"


async def test_what_cannot_be_written_down_costs_only_itself_and_no_end(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make()
    odd, other = make_record(), make_record()
    for record in (odd, other):
        await journal.write(InsertRun(record), within=30)
    journal.away = True
    futures = [
        journal.submit(CloseRun(replace(ended(odd), finish_reason=Mood.GOOD))),  # type: ignore[arg-type]
        journal.submit(Note(NoteRecord(run_id=odd.id, at=clock.now(), kind=NoteKind.TOOL, text=Mood.GOOD))),  # type: ignore[arg-type]
        journal.submit(CloseRun(ended(other))),
    ]
    async with asyncio.timeout(30):
        first, note, last = await asyncio.gather(*futures, return_exceptions=True)
    assert (first, type(note), last) == (True, TypeError, True)
    assert caplog.messages.count("spill.end_reduced") == caplog.messages.count("journal.change_refused") == 1
    journal.away = False
    await settle(journal)
    assert await Run.objects.filter(status=RunStatus.COMPLETED).acount() == 2
    assert (await Run.objects.aget(pk=odd.id)).error_code == "record_refused"


@pytest.mark.parametrize(
    "other",
    [
        {"HOST": "elsewhere"},
        {"NAME": "/another"},
        {"OPTIONS": {"host": "elsewhere"}},
        {"OPTIONS": {"service": "another"}},
        {"OPTIONS": {"options": "-c search_path=another"}},
    ],
    ids=str,
)
def test_databases_do_not_meet_in_one_file(monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]) -> None:
    before = spill_folder("/x", "default")
    assert before.parent == Path("/x")
    assert spill_folder("/x", "default") == before
    for key, value in other.items():
        monkeypatch.setitem(connections["default"].settings_dict, key, value)
    assert spill_folder("/x", "default") != before


def test_how_long_one_waits_makes_no_other_database(monkeypatch: pytest.MonkeyPatch) -> None:
    before = spill_folder("/x", "default")
    options = {"connect_timeout": "3", "options": "-c statement_timeout=5000"}
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert spill_folder("/x", "default") == before


def test_a_relative_name_of_sqlites_file_is_another_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "db.sqlite3")
    before = spill_folder("/x", "default")
    monkeypatch.chdir(tmp_path)
    if connections["default"].vendor == "sqlite":
        assert spill_folder("/x", "default") != before


async def test_what_waits_for_a_database_under_another_address_is_told_of(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    dead, living, ours = (tmp_path / (name * 16) for name in "abc")
    leave_run(dead)
    lives = Spill(living)
    lives.append([InsertRun(make_record())])
    await settle(make(spill=ours))
    told = [vars(record)["path"] for record in caplog.records if record.message == "spill.of_another_database"]
    assert told == [str(dead)]
    assert not await Run.objects.aexists()
    lives.close()


async def adopt_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> str:
    """Start a journal that must find nothing to write; returns what its log says."""
    await settle(make())
    assert not await Run.objects.aexists()
    assert "journal.adopted" not in caplog.messages
    return next(str(vars(record)["error"]) for record in caplog.records if record.message == "spill.unreadable")


def leave_run(folder: Path) -> Path:
    """A dead one's file."""
    left = Spill(folder)
    left.append([InsertRun(make_record())])
    left.close()
    return next(folder.glob("*.spill"))


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
async def test_what_lies_in_a_folder_that_others_may_write_to_is_not_adopted(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = leave_run(tmp_path)
    tmp_path.chmod(mode)
    assert "chmod go-w" in await adopt_nothing(make, caplog)
    assert path.exists()


async def test_a_file_that_others_may_write_to_is_not_adopted(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    leave_run(tmp_path).chmod(0o620)
    assert "chmod go-w" in await adopt_nothing(make, caplog)


async def test_a_link_to_a_file_is_not_adopted(tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.orphan").symlink_to(leave_run(tmp_path / "elsewhere"))
    await adopt_nothing(make, caplog)


@pytest.mark.parametrize("whose", ["the folder", "the folder above", "the file"])
async def test_what_belongs_to_another_user_is_not_adopted(
    tmp_path: Path,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    path = leave_run(tmp_path)
    foreign = {"the folder": tmp_path, "the folder above": tmp_path.parent, "the file": path}[whose].stat().st_ino
    for name in ("stat", "lstat", "fstat"):
        monkeypatch.setattr(f"os.{name}", as_if_owned_by_another(foreign, getattr(os, name)))
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert "Belongs to user 4712, not to 4711" in await adopt_nothing(make, caplog)
    with pytest.raises(PermissionError, match="Belongs to user 4712") if whose != "the file" else nullcontext():
        leave_run(tmp_path)


def as_if_owned_by_another(inode: int, really: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    """Tells of everything that it is ours, user 4711's, but of one thing that it is user 4712's."""

    def told(*args: Any, **options: Any) -> os.stat_result:
        found = really(*args, **options)
        return os.stat_result((*found[:4], 4712 if found.st_ino == inode else 4711, *found[5:]))

    return told


def test_what_is_made_is_open_to_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = leave_run(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


def test_a_record_is_not_set_aside_through_a_link(tmp_path: Path) -> None:
    path = leave_run(tmp_path)
    path.write_bytes(line_of(["InsertGone", {}]))
    (tmp_path / "target").touch()
    path.with_suffix(".unknown").symlink_to(tmp_path / "target")
    assert list(orphans(tmp_path)) == []
    assert (tmp_path / "target").read_bytes() == b""
