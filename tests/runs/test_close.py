"""One end a run, and the first wish to abort it counts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from gateway_project import clock
from gateway_project.runs.abort import AbortRequest, request_abort
from gateway_project.runs.close import close_run
from gateway_project.runs.journal.changes import CallAgent, InsertRun, StartRun
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db


def inserted(**changes: object) -> RunRecord:
    record = make_record(**changes)
    InsertRun(record).apply(connection)
    return record


def completed(record: RunRecord) -> RunRecord:
    return replace(record, status=RunStatus.COMPLETED, finished_at=clock.now(), settled_at=clock.now())


def aborted(record: RunRecord, cause: AbortCause = AbortCause.CLIENT_DISCONNECT) -> RunRecord:
    now = clock.now()
    return replace(
        record,
        status=RunStatus.ABORTED,
        abort_cause=cause,
        abort_phase=AbortPhase.STREAMING,
        abort_outcome=AbortOutcome.STOPPED,
        abort_requested_at=now,
        settled_at=now,
        finished_at=now,
    )


def test_an_end_is_written_once_and_the_second_becomes_a_note() -> None:
    record = inserted()
    assert close_run(completed(record), connection) is True
    assert close_run(aborted(record), connection) is False
    run = Run.objects.get(pk=record.id)
    assert (run.status, run.abort_cause) == (RunStatus.COMPLETED, "")
    assert [(note.kind, note.text) for note in run.notes.all()] == [(NoteKind.SECOND_END, "would have been aborted")]


def test_a_queued_run_does_not_complete() -> None:
    record = inserted(status=RunStatus.QUEUED)
    assert close_run(completed(record), connection) is False
    assert Run.objects.get(pk=record.id).status == RunStatus.QUEUED
    assert close_run(aborted(record), connection) is True


def test_a_run_that_runs_in_one_process_is_not_ended_by_another() -> None:
    record = inserted(status=RunStatus.QUEUED, worker="a" * 32)
    elsewhere = replace(record, status=RunStatus.RUNNING, worker="b" * 32)
    assert StartRun(elsewhere).apply(connection) is True
    here = replace(elsewhere, worker="c" * 32)
    assert StartRun(here).apply(connection) is False
    assert close_run(replace(completed(here), status=RunStatus.FAILED), connection) is False
    assert Run.objects.get(pk=record.id).status == RunStatus.RUNNING
    assert close_run(completed(elsewhere), connection) is True


def test_a_closed_run_does_not_start() -> None:
    record = inserted(status=RunStatus.QUEUED)
    close_run(aborted(record), connection)
    assert StartRun(replace(record, status=RunStatus.RUNNING)).apply(connection) is False
    assert Run.objects.get(pk=record.id).status == RunStatus.ABORTED


def test_a_prepared_runs_agent_is_called_while_it_is_open() -> None:
    record = inserted(started_at=None)
    called = replace(record, started_at=clock.now())
    assert CallAgent(called).apply(connection) is True
    assert Run.objects.get(pk=record.id).started_at == called.started_at
    close_run(aborted(called), connection)
    assert CallAgent(replace(called, started_at=clock.now())).apply(connection) is False
    assert Run.objects.get(pk=record.id).started_at == called.started_at


def test_what_is_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match="not an end"):
        close_run(inserted(), connection)


def test_a_wish_from_elsewhere_that_came_first_keeps_its_place() -> None:
    record = inserted()
    assert request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice", reason="too dear") is AbortRequest.ASKED
    close_run(aborted(record), connection)
    run = Run.objects.get(pk=record.id)
    assert (run.abort_cause, run.abort_requested_by, run.abort_reason) == ("operator_cancelled", "alice", "too dear")
    assert [(note.kind, note.text) for note in run.notes.all()] == [(NoteKind.SECOND_CAUSE, "client_disconnect")]


def test_the_moment_of_the_wish_is_when_it_was_made_not_when_the_owner_heard_of_it() -> None:
    record = inserted()
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    asked_at = Run.objects.get(pk=record.id).abort_requested_at
    close_run(aborted(record, AbortCause.OPERATOR_CANCELLED), connection)
    run = Run.objects.get(pk=record.id)
    assert run.abort_requested_at == asked_at
    assert run.notes.count() == 0


def test_a_wish_from_elsewhere_that_came_second_is_a_note() -> None:
    record = inserted()
    end = aborted(record)
    assert end.abort_requested_at is not None
    end = replace(end, abort_requested_at=end.abort_requested_at - timedelta(seconds=5))
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    close_run(end, connection)
    run = Run.objects.get(pk=record.id)
    assert (run.abort_cause, run.abort_requested_by) == ("client_disconnect", "")
    assert [(note.text, note.by) for note in run.notes.all()] == [("operator_cancelled", "alice")]


def test_a_run_that_ended_before_it_heard_of_the_wish_finished_first() -> None:
    record = inserted()
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    close_run(completed(record), connection)
    run = Run.objects.get(pk=record.id)
    assert (run.status, run.abort_cause, run.abort_outcome) == ("completed", "operator_cancelled", "finished_first")


def test_a_wish_made_when_all_was_over_is_a_note_and_no_abort() -> None:
    record = inserted()
    end = completed(record)
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    assert close_run(end, connection) is True
    run = Run.objects.get(pk=record.id)
    assert (run.status, run.abort_cause, run.abort_outcome, run.abort_requested_at) == ("completed", "", "", None)
    assert [(note.kind, note.by) for note in run.notes.all()] == [(NoteKind.ABORT_REQUESTED, "alice")]


def test_asking_twice_keeps_the_first_and_notes_the_second() -> None:
    record = inserted()
    request_abort(record.id, AbortCause.OPERATOR_CANCELLED, by="alice")
    assert request_abort(record.id, AbortCause.CLIENT_CANCELLED, by="bob", reason="r" * 900) is (
        AbortRequest.ALREADY_ASKED
    )
    run = Run.objects.get(pk=record.id)
    assert run.abort_requested_by == "alice"
    note = run.notes.get()
    assert (note.kind, note.by) == (NoteKind.SECOND_CAUSE, "bob")
    assert note.text.startswith("client_cancelled: rrr")


def test_asking_after_the_end_or_for_nothing_changes_nothing() -> None:
    record = inserted()
    close_run(completed(record), connection)
    assert request_abort(record.id, AbortCause.OPERATOR_CANCELLED) is AbortRequest.ALREADY_ENDED
    assert request_abort(make_record().id, AbortCause.OPERATOR_CANCELLED) is AbortRequest.UNKNOWN_RUN
    run = Run.objects.get(pk=record.id)
    assert (run.abort_cause, run.abort_requested_at, run.notes.count()) == ("", None, 0)
