"""``manage.py verifyruns``: what it says, its exit code, its checkpoint, and that it minds no running writer."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from gateway_project.runs.journal import CloseRun, InsertRun, Journal
from gateway_project.runs.models import Run, Seal, Verification
from gateway_project.runs.progress_bar import ProgressBar
from gateway_project.runs.seals import verify as verification
from gateway_project.runs.seals.removal import PurgeRuns
from gateway_project.runs.seals.verify import Position, Verifier
from tests.runs.records import make_record
from tests.runs.seals.conftest import Execute, Sealed, Writer, ended, seal_of, verify

pytestmark = pytest.mark.django_db


def verifyruns(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verifyruns", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SEALS_A_PAGE", "_ENTRIES_A_LOOK", "_ROWS_A_PAGE"):
        monkeypatch.setattr(verification, name, 1)


def test_an_empty_database_is_clean() -> None:
    assert verifyruns().startswith("Clean: 0 seals, 0 runs, notes and contents.")


def test_what_is_clean_is_said_and_kept(sealed: Sealed) -> None:
    assert verifyruns().startswith("Clean: 6 seals, 12 runs, notes and contents.")
    kept = Verification.objects.get()
    assert (kept.is_clean, kept.seals, kept.rows, kept.checkpoint, kept.first_break) == (True, 6, 12, {}, "")


def test_a_break_is_said_and_kept_and_is_the_exit_code(sealed: Sealed, attack: Execute) -> None:
    attack("UPDATE gateway_run SET output_tokens = 4 WHERE id = %s", sealed.runs[1])
    attack("UPDATE gateway_run SET output_tokens = 4 WHERE id = %s", sealed.runs[5])
    attack("DELETE FROM gateway_run_note WHERE run_id = %s", sealed.runs[2])
    out = io.StringIO()
    with pytest.raises(CommandError, match="not what was sealed") as stopped:
        call_command("verifyruns", stdout=out)
    assert stopped.value.returncode == 1
    first = f"changed row: run {sealed.runs[1]} is not what was sealed"
    assert out.getvalue().splitlines() == [f"First break: {first}", "        2  changed row", "        1  deleted row"]
    kept = Verification.objects.get()
    assert (kept.is_clean, kept.breaks, kept.first_break) == (False, {"changed row": 2, "deleted row": 1}, first)


def test_the_head_is_an_anchor(sealed: Sealed, attack: Execute, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    anchor.write_text("# kept elsewhere\n" + verifyruns("--head"))
    sealed.first.run()
    assert verifyruns("--since-head", str(anchor)).startswith("Clean")
    seal = seal_of(sealed.runs[5])
    assert anchor.read_text().splitlines()[2:-1] == [f"{seal.chain} 3 {bytes(seal.hash).hex()}"]
    attack("DELETE FROM gateway_seal WHERE chain = %s AND number = 3", seal.chain)
    with pytest.raises(CommandError):
        verifyruns("--since-head", str(anchor))
    assert Verification.objects.latest("pk").first_break == (
        f"truncated tail: chain {seal.chain} ends before seal 3, which an anchor names"
    )


@pytest.mark.parametrize("text", ["nonsense", "a b c", "01a20e72-d4d7-7dcf-aca6-155fd449da30 3 00ff"])
def test_what_is_no_anchor_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "anchor").write_text(text)
    with pytest.raises(CommandError, match=r"--anchor .*: line 1"):
        verifyruns("--anchor", str(tmp_path / "anchor"))
    with pytest.raises(CommandError, match=r"--anchor .*: .*No such file"):
        verifyruns("--since-head", str(tmp_path / "none"))


@pytest.mark.usefixtures("small_pages")
def test_a_walk_that_was_stopped_anywhere_goes_on_and_finds_the_same(sealed: Sealed, attack: Execute) -> None:
    attack("UPDATE gateway_run SET id = %s WHERE id = %s", Run.objects.model().pk, sealed.runs[0])
    attack("UPDATE gateway_run SET output_tokens = 4 WHERE id = %s", sealed.runs[1])
    attack("DELETE FROM gateway_seal WHERE id = %s", seal_of(sealed.runs[4]).pk)
    whole = Verifier(connection)
    steps = sum(1 for _ in whole.walk())
    assert steps > 12
    position = Position()
    for _ in range(steps):
        verifier = Verifier(connection, Position.of_json(position.as_json()))
        next(verifier.walk())
        position = verifier.position
    last = Verifier(connection, position)
    assert list(last.walk()) == []
    assert last.position.as_json() == whole.position.as_json()


@pytest.mark.usefixtures("small_pages")
def test_the_command_goes_on_where_it_was_stopped(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []

    def show(bar: ProgressBar, done: int) -> None:
        shown.append(done)
        if len(shown) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "show", show)
    with pytest.raises(KeyboardInterrupt):
        verifyruns()
    kept = Verification.objects.get()
    assert (kept.finished_at, kept.seals, kept.is_clean) == (None, 4, False)
    assert verifyruns("--resume").startswith("Clean: 6 seals, 12 runs, notes and contents.")
    assert shown == [1, 2, 3, 4, 5, 6, *range(7, 19)]
    assert Verification.objects.get().is_clean
    with pytest.raises(CommandError, match="No walk was stopped"):
        verifyruns("--resume")


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("pages", [1, 4, 8, 15])
def test_who_goes_on_with_a_walk_and_brings_an_anchor_has_it_checked(
    sealed: Sealed, pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = tmp_path / "anchor"
    seal = seal_of(sealed.runs[5])
    anchor.write_text(f"{seal.chain} 3 {bytes(32).hex()}")
    shown: list[int] = []

    def show(bar: ProgressBar, done: int) -> None:
        shown.append(done)
        if len(shown) == pages:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "show", show)
    with pytest.raises(KeyboardInterrupt):
        verifyruns()
    with pytest.raises(CommandError):
        verifyruns("--resume", "--anchor", str(anchor))
    assert Verification.objects.get().breaks == {"rewritten chain": 1}


@pytest.mark.usefixtures("small_pages")
def test_whatever_is_written_during_the_walk_raises_no_alarm(sealed: Sealed) -> None:
    """Between any two pages: a new run, an end of an open one, a purge, a new chain."""
    sixth = make_record()
    sealed.first.commit(InsertRun(sixth))
    for moment in range(20):
        verifier = Verifier(connection)
        for step, _ in enumerate(verifier.walk()):
            if step == moment:
                sealed.second.commit(CloseRun(ended(sixth)), PurgeRuns(sealed.runs[:1]))
                sixth = make_record()
                sealed.runs = [*sealed.runs[1:], Writer().run()]
                sealed.first.commit(InsertRun(sixth))
        assert verifier.findings.counts == {}, moment


@pytest.mark.django_db(transaction=True)
async def test_a_journal_writes_while_it_is_verified(tmp_path: Path) -> None:
    journal = Journal("default", spill=tmp_path)
    records = [make_record() for _ in range(200)]
    for record in records:
        journal.submit(InsertRun(record))
        end = journal.submit(CloseRun(ended(record)))
        await asyncio.sleep(0)
    walks = 0
    while not end.done() or not walks:
        assert await asyncio.to_thread(_verify_in_thread) == {}
        walks += 1
    assert await asyncio.to_thread(journal.stop, 30)
    assert await asyncio.to_thread(_verify_in_thread) == {}
    assert await Run.objects.filter(seal__isnull=False).acount() == 200
    assert 1 <= await Seal.objects.acount() <= 200


def _verify_in_thread() -> dict[str, int]:
    try:
        return verify()
    finally:
        connection.close()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Iterator[float] = iter([1.0, 1.1, 2.0])
    monkeypatch.setattr("gateway_project.clock.monotonic", lambda: next(ticks))
    terminal, log = Terminal(), io.StringIO()
    bar, silent = ProgressBar(terminal, 200), ProgressBar(log, 200)
    for done in (50, 60, 400):
        bar.show(done)
    silent.show(50)
    bar.close()
    silent.close()
    drawn = terminal.getvalue().split("\r")[1:]
    assert drawn == [
        "[#######                       ]  25%  50 of about 200",
        "[##############################] 100%  400 of about 200\n",
    ]
    assert log.getvalue() == ""
