"""A worker lives as long as it renews its lease; what a lost one left open is closed exactly once."""

from datetime import timedelta

import pytest
from django.db import connection

from gateway_project import clock, ids
from gateway_project.runs.abort import request_abort
from gateway_project.runs.close import close_run
from gateway_project.runs.journal.changes import InsertRun
from gateway_project.runs.lease import EndLease, RenewLease, Sweep, sweep
from gateway_project.runs.models import Run, Worker
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause, NoteKind, RunStatus
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db


def worker(*, lapsed: bool = False) -> str:
    name = ids.uuid7().hex
    assert RenewLease(name, 15).apply(connection)
    if lapsed:
        Worker.objects.filter(pk=name).update(lease_until=clock.now() - timedelta(seconds=1))
    return name


def running(owner: str, status: RunStatus = RunStatus.RUNNING) -> RunRecord:
    record = make_record(worker=owner, status=status)
    InsertRun(record).apply(connection)
    return record


def test_a_lease_is_renewed_from_now_on() -> None:
    name = worker(lapsed=True)
    before = clock.now()
    assert RenewLease(name, 15).apply(connection)
    until = Worker.objects.get(pk=name).lease_until
    assert before <= until - timedelta(seconds=15) <= clock.now()


def test_the_runs_of_a_lost_worker_are_closed_once() -> None:
    record = running(worker(lapsed=True))
    queued = running(record.worker, RunStatus.QUEUED)
    prepared = make_record(worker=record.worker, started_at=None)
    InsertRun(prepared).apply(connection)
    assert sweep(connection).runs == 3
    assert sweep(connection).runs == 0
    run = Run.objects.get(pk=record.id)
    assert (run.status, run.abort_cause, run.abort_outcome) == ("aborted", "worker_lost", "unknown")
    assert run.finished_at is not None
    assert run.settled_at is None
    assert Run.objects.get(pk=queued.id).abort_phase == "queued"
    assert Run.objects.get(pk=prepared.id).abort_phase == "preparing"


def test_a_sweep_that_comes_too_late_sweeps_nobody() -> None:
    record = running(worker(lapsed=True))
    assert Sweep(not_after=clock.monotonic() - 0.001).apply(connection) == (0, 0)
    assert Worker.objects.get(pk=record.worker).lost_at is None
    assert Sweep(not_after=clock.monotonic() + 60).apply(connection) == (1, 1)


def test_the_runs_of_the_living_are_left_alone() -> None:
    record = running(worker())
    assert sweep(connection).runs == 0
    assert Run.objects.get(pk=record.id).status == RunStatus.RUNNING


def test_who_was_taken_for_lost_is_told_and_does_not_come_back() -> None:
    name = worker(lapsed=True)
    sweep(connection)
    assert RenewLease(name, 15).apply(connection) is False
    assert RenewLease(name, 15).apply(connection) is False


def test_an_end_that_comes_after_the_sweep_is_a_note() -> None:
    record = running(worker(lapsed=True))
    sweep(connection)
    record.status, record.finished_at = RunStatus.COMPLETED, clock.now()
    assert close_run(record, connection) is False
    run = Run.objects.get(pk=record.id)
    assert run.abort_cause == "worker_lost"
    assert [note.kind for note in run.notes.all()] == [NoteKind.SECOND_END]


def test_what_a_worker_left_open_at_its_orderly_end_is_closed_too() -> None:
    record = running(worker())
    EndLease(record.worker).apply(connection)
    assert sweep(connection).runs == 1
    assert Worker.objects.get(pk=record.worker).lost_at is None


def test_a_run_of_a_worker_that_never_registered_is_closed_too() -> None:
    fresh = running(ids.uuid7().hex)
    old = make_record(worker=ids.uuid7().hex, received_at=clock.now() - timedelta(minutes=2))
    InsertRun(old).apply(connection)
    assert sweep(connection).runs == 1
    assert Run.objects.get(pk=old.id).abort_cause == "worker_lost"
    assert Run.objects.get(pk=fresh.id).status == RunStatus.RUNNING


def test_a_wish_to_abort_that_nobody_heard_keeps_its_place() -> None:
    record = running(worker(lapsed=True))
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    sweep(connection)
    run = Run.objects.get(pk=record.id)
    assert (run.abort_cause, run.abort_requested_by, run.abort_outcome) == ("operator_cancelled", "alice", "unknown")
    assert [note.text for note in run.notes.all()] == ["worker_lost"]
