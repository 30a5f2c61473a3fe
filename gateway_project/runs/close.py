"""The one way a run gets its end: a single guarded update that obeys the transition table."""

from dataclasses import replace

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note
from gateway_project.runs.record import ABORT_COLUMNS, END_COLUMNS, NoteRecord, RunRecord, assignments, values
from gateway_project.runs.vocabulary import FINAL_STATUSES, AbortOutcome, AbortPhase, NoteKind, RunStatus, sources_of

_TABLE = Run._meta.db_table


def close_run(end: RunRecord, connection: BaseDatabaseWrapper) -> bool:
    """Write the end of a run. Whoever comes second changes nothing and leaves a note.

    Args:
        end: the run's record with a final status and everything known of its end.
        connection: in a transaction of the caller's.

    Returns:
        Whether the run has this end, be it from an earlier call.

    Raises:
        ValueError: when `end.status` is not final.
    """
    if end.status not in FINAL_STATUSES:
        raise ValueError(f"{end.status} is not an end")
    # Locked, so that no wish to abort is written between the look and the update.
    run = Run.objects.using(connection.alias).select_for_update().filter(pk=end.id).first()
    if run is None or RunStatus(run.status) not in sources_of(RunStatus(end.status)):
        return _came_second(end, run, connection)
    end, note = _with_first_abort(end, run)
    columns = (*END_COLUMNS, *ABORT_COLUMNS)
    sql = f"UPDATE {_TABLE} SET {assignments(columns)} WHERE id = %s AND status = %s"  # noqa: S608 (names are ours)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values(end, (*columns, "id"), connection), run.status])
        closed: bool = cursor.rowcount == 1
    if closed and note is not None:
        add_note(note, connection)
    return closed


def _came_second(end: RunRecord, run: Run | None, connection: BaseDatabaseWrapper) -> bool:
    if run is not None and (run.status, run.finished_at) == (end.status, end.finished_at):
        return True  # The same end again: the first answer got lost.
    if end.finished_at is not None:
        text = f"would have been {end.status}"
        add_note(NoteRecord(run_id=end.id, at=end.finished_at, kind=NoteKind.SECOND_END, text=text), connection)
    return False


def _with_first_abort(end: RunRecord, run: Run) -> tuple[RunRecord, NoteRecord | None]:
    """Of the abort asked elsewhere (in the row) and the one known here (in `end`) the earlier stays.

    The other becomes a note. A run that ended by itself before it heard of the wish "finished first".
    """
    if run.abort_requested_at is None:
        return end, None
    over_at = end.settled_at or end.finished_at
    if end.abort_requested_at is None and over_at is not None and run.abort_requested_at > over_at:
        # Asked when all was over and the end was on its way into the record: nothing was aborted.
        by, text = run.abort_requested_by, f"{run.abort_cause} (after the end)"
        at = run.abort_requested_at
        return end, NoteRecord(run_id=end.id, at=at, kind=NoteKind.ABORT_REQUESTED, by=by, text=text)
    stored = {column: getattr(run, column) for column in ABORT_COLUMNS}
    if end.abort_requested_at is None:
        outcome = AbortOutcome.FINISHED_FIRST
        finished = replace(end, abort_phase=AbortPhase.FINISHING, abort_outcome=outcome, settled_at=over_at)
        return replace(finished, **stored), None
    stored_is_first = run.abort_requested_at < end.abort_requested_at
    note = None
    if run.abort_cause != end.abort_cause:
        at, by, cause = (
            (end.abort_requested_at, end.abort_requested_by, end.abort_cause)
            if stored_is_first
            else (run.abort_requested_at, run.abort_requested_by, run.abort_cause)
        )
        note = NoteRecord(run_id=end.id, at=at, kind=NoteKind.SECOND_CAUSE, by=by, text=cause)
    return (replace(end, **stored) if stored_is_first else end), note
