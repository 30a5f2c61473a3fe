"""Who writes what is final seals it, in the same commit, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import OperationalError, connection, transaction

from gateway_project import clock
from gateway_project.runs.abort import request_abort
from gateway_project.runs.close import close_run
from gateway_project.runs.journal import CloseRun, InsertRun, Note, StartRun
from gateway_project.runs.lease import RenewLease, Sweep
from gateway_project.runs.models import Chain, Run, RunNote, Seal, Tombstone, Worker
from gateway_project.runs.seals.batch import EntryKind, unpack
from gateway_project.runs.seals.chain import NAMES_OTHERS_AFTER, unnamed_heads, unpack_heads
from gateway_project.runs.seals.removal import EraseFields, PurgeRuns
from gateway_project.runs.vocabulary import AbortCause, RunStatus
from tests.runs.records import make_record
from tests.runs.seals.conftest import Sealed, Writer, ended, note, verify

pytestmark = pytest.mark.django_db


def entries() -> list[EntryKind]:
    """The kinds of all entries, in the order of the seals."""
    return [entry.kind for seal in Seal.objects.order_by("sealed_at") for entry in unpack(bytes(seal.entries))]


def test_only_what_is_final_is_sealed() -> None:
    writer, record = Writer(), make_record(status=RunStatus.QUEUED)
    writer.commit(InsertRun(record))
    writer.commit(StartRun(replace(record, status=RunStatus.RUNNING)))
    writer.commit(RenewLease("w", 15))
    assert not Seal.objects.exists()
    writer.commit(CloseRun(ended(record)), InsertRun(make_record()), InsertRun(make_record(status=RunStatus.REJECTED)))
    [seal] = Seal.objects.all()
    assert entries() == [EntryKind.RUN, EntryKind.RUN]
    assert set(Run.objects.ended().values_list("seal", flat=True)) == {seal.pk}
    assert set(Run.objects.open().values_list("seal", flat=True)) == {None}


def test_the_same_end_again_makes_no_second_seal() -> None:
    """A commit whose answer got lost, and a spill file that is replayed twice."""
    writer, record = Writer(), make_record()
    changes = InsertRun(record), Note(note(record)), CloseRun(ended(record))
    writer.commit(*changes)
    writer.commit(*changes)
    Writer().commit(*changes)
    assert entries() == [EntryKind.NOTE, EntryKind.RUN]
    assert verify() == {}


def test_a_transaction_that_fails_leaves_no_seal_and_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    writer.run()

    class Full(Exception):
        pass

    def fail(*_: object) -> None:
        raise Full

    with monkeypatch.context() as patch, pytest.raises(Full):
        patch.setattr("gateway_project.runs.seals.chain._INSERT_SEAL", "SELECT 1")
        patch.setattr(StartRun, "apply", fail)
        writer.commit(InsertRun(make_record(status=RunStatus.REJECTED)), StartRun(make_record()))
    writer.run()
    assert list(Seal.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert verify() == {}


def test_the_commits_answer_may_get_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seal is there, the writer does not know: it asks, and goes on behind it."""
    writer, commit = Writer(), transaction.atomic

    @contextmanager
    def lose_the_answer(using: str) -> Iterator[None]:
        with commit(using=using):
            yield
        raise OperationalError("server closed the connection unexpectedly")

    writer.run()
    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(transaction, "atomic", lose_the_answer)
        writer.commit(InsertRun(make_record(status=RunStatus.REJECTED)))
    writer.run()
    assert list(Seal.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3]
    assert Chain.objects.count() == 1
    assert verify() == {}


def test_each_seal_follows_the_one_before_it() -> None:
    writer = Writer()
    for _ in range(4):
        writer.run()
    seals = Seal.objects.order_by("number")
    assert [seal.number for seal in seals] == [1, 2, 3, 4]
    assert all(bytes(later.previous) == bytes(earlier.hash) for earlier, later in pairwise(seals))


def test_a_first_seal_names_the_chains_that_nobody_has_named_as_they_are() -> None:
    one, two, three, four = (Writer() for _ in range(4))
    one.run()
    two.run()
    three.run()
    named = [list(unpack_heads(bytes(seal.heads))) for seal in Seal.objects.order_by("sealed_at")]
    assert [len(heads) for heads in named] == [0, 1, 1], "the third names the second, which names the first"
    one.run()
    four.run()
    newest = Seal.objects.latest("sealed_at")
    assert {(head.chain, head.number) for head in unpack_heads(bytes(newest.heads))} == {
        (one.chain._chain, 2),
        (three.chain._chain, 1),
    }
    assert [head.chain for head in unnamed_heads(connection)] == [four.chain._chain], "all else hangs on this one"


def test_a_chain_names_the_others_again_after_a_while(sealed: Sealed) -> None:
    sealed.first.run()
    before = Seal.objects.latest("sealed_at")
    assert bytes(before.heads) == b""
    sealed.first.chain._named_at = clock.now() - NAMES_OTHERS_AFTER
    sealed.first.run()
    [head] = unpack_heads(bytes(Seal.objects.latest("sealed_at").heads))
    assert (head.chain, head.number) == (sealed.second.chain._chain, 3)
    assert verify() == {}


def test_a_sweep_seals_what_it_closes() -> None:
    owner, sweeper, record = Writer(), Writer(), make_record()
    owner.commit(RenewLease(record.worker, 15), InsertRun(record))
    Worker.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    sweeper.commit(Sweep())
    assert Run.objects.get().abort_cause == AbortCause.WORKER_LOST
    assert Seal.objects.get().chain == sweeper.chain._chain
    assert verify() == {}


def test_what_is_noted_outside_of_a_journal_is_sealed_with_the_end() -> None:
    writer, record = Writer(), make_record()
    writer.commit(InsertRun(record))
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    request_abort(record.id, AbortCause.CLIENT_CANCELLED, by="bob")
    assert RunNote.objects.get().seal is None
    assert verify() == {}, "the run is open"
    writer.commit(CloseRun(replace(ended(record), abort_requested_at=None, abort_cause="")))
    assert sorted(entries()) == [EntryKind.RUN, EntryKind.NOTE]
    assert verify() == {}


def test_an_end_that_is_written_outside_of_a_journal_is_found() -> None:
    record = make_record()
    InsertRun(record).apply(connection)
    close_run(ended(record), connection)
    assert verify() == {"row that no seal knows": 1}


def test_a_writer_whose_chain_was_disturbed_begins_another_one(
    sealed: Sealed, caplog: pytest.LogCaptureFixture
) -> None:
    chain = sealed.first.chain._chain
    Chain.objects.filter(pk=chain).update(head_number=1)
    sealed.first.run()
    assert sealed.first.chain._chain != chain
    assert [record.message for record in caplog.records] == ["seals.chain_disturbed"]
    assert verify() == {"changed row of a chain": 1}


def test_purging_leaves_open_runs_and_says_what_went(sealed: Sealed) -> None:
    open_run = make_record()
    sealed.first.commit(InsertRun(open_run))
    assert sealed.first.commit(PurgeRuns([*sealed.runs[:2], open_run.id])) == [2]
    assert Run.objects.count() == 5
    assert RunNote.objects.count() == 4
    assert Tombstone.objects.count() == 4
    assert sealed.first.commit(PurgeRuns(sealed.runs[:2])) == [0]
    assert verify() == {}


def test_what_no_seal_knows_can_be_purged(sealed: Sealed) -> None:
    record = make_record(status=RunStatus.REJECTED)
    InsertRun(record).apply(connection)
    assert verify() == {"row that no seal knows": 1}
    assert sealed.first.commit(PurgeRuns([record.id])) == [1]
    assert verify() == {}


def test_erasing_group_by_group_and_purging_afterwards(sealed: Sealed) -> None:
    run = sealed.runs[0]
    before = Run.objects.get(pk=run)
    for group, blank, kept in (
        ("asker", "abort_requested_by", "principal_label"),
        ("identity", "principal_label", "abort_cause"),
    ):
        assert sealed.second.commit(EraseFields(EntryKind.RUN, [run], [group])) == [1]
        assert verify() == {}
        row = Run.objects.get(pk=run)
        assert (getattr(row, blank), getattr(row, kept)) == ("", getattr(before, kept))
    assert sealed.second.commit(EraseFields(EntryKind.RUN, [run], ["identity", "asker"])) == [0]
    assert sealed.second.commit(PurgeRuns([run])) == [1]
    assert verify() == {}


def test_only_a_journal_removes(sealed: Sealed) -> None:
    with pytest.raises(RuntimeError, match="only a journal"):
        PurgeRuns([sealed.runs[0]]).apply(connection)
