"""The one way a run gets its end: a single guarded update that obeys the transition table."""

from dataclasses import replace

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note
from gateway_project.runs.record import ABORT_COLUMNS, END_COLUMNS, NoteRecord, RunRecord, assignments, values
from gateway_project.runs.vocabulary import FINAL_STATUSES, AbortOutcome, NoteKind, RunStatus, sources_of

_TABLE = Run._meta.db_table


def close_run(end: RunRecord, connection: BaseDatabaseWrapper) -> bool:
    """Write the end of a run. Whoever comes second changes nothing and leaves a note.

    Args:
        end: the run's record with a final status and everything known of its end.
        connection: in a transaction of the caller's.

    Returns:
        Whether this call closed the run.

    Raises:
        ValueError: when `end.status` is not final.
    """
    status = RunStatus(end.status)
    if status not in FINAL_STATUSES:
        raise ValueError(f"{status} is not an end")
    end = _with_first_abort(end, connection)
    sources = sources_of(status)
    columns = (*END_COLUMNS, *ABORT_COLUMNS)
    sql = f"UPDATE {_TABLE} SET {assignments(columns)} WHERE id = %s AND status IN ({', '.join(['%s'] * len(sources))})"  # noqa: S608
    parameters = [*values(end, columns, connection), *values(end, ("id",), connection), *map(str, sources)]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        closed: bool = cursor.rowcount == 1
    if not closed and end.finished_at is not None:
        note = NoteRecord(run_id=end.id, at=end.finished_at, kind=NoteKind.SECOND_END, text=f"would have been {status}")
        add_note(note, connection)
    return closed


def _with_first_abort(end: RunRecord, connection: BaseDatabaseWrapper) -> RunRecord:
    """Of the abort asked elsewhere (in the row) and the one known here (in `end`) the earlier stays.

    A run that ended by itself before it heard of the other's wish "finished first".
    """
    run = Run.objects.using(connection.alias).filter(pk=end.id, abort_requested_at__isnull=False)
    stored = run.values_list(*ABORT_COLUMNS).first()
    if stored is None:
        return end
    at, cause, by, reason = stored
    if end.abort_requested_at is None:
        return replace(
            end,
            abort_requested_at=at,
            abort_cause=cause,
            abort_requested_by=by,
            abort_reason=reason,
            abort_phase=end.abort_phase,
            abort_outcome=AbortOutcome.FINISHED_FIRST,
            settled_at=end.settled_at or end.finished_at,
        )
    if at < end.abort_requested_at:
        if cause != end.abort_cause:
            second = NoteRecord(
                run_id=end.id, at=end.abort_requested_at, kind=NoteKind.SECOND_CAUSE, text=end.abort_cause
            )
            add_note(second, connection)
        return replace(end, abort_requested_at=at, abort_cause=cause, abort_requested_by=by, abort_reason=reason)
    if cause != end.abort_cause:
        add_note(NoteRecord(run_id=end.id, at=at, kind=NoteKind.SECOND_CAUSE, by=by, text=cause), connection)
    return end
