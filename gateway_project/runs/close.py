"""The one way a run gets its end: a single guarded update that obeys the transition table."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.alerts.outbox import announce
from gateway_project.runs.bulk import BulkUpdate
from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note, seal_loose_notes
from gateway_project.runs.record import ABORT_COLUMNS, COLUMNS, END_COLUMNS, SEAL_COLUMNS, NoteRecord, RunRecord, values
from gateway_project.runs.seals.batch import EntryKind, current_batch, seal_values
from gateway_project.runs.seals.canonical import RUN
from gateway_project.runs.sql import adapted, assignments, names
from gateway_project.runs.statement import Statement
from gateway_project.runs.vocabulary import FINAL_STATUSES, AbortOutcome, AbortPhase, NoteKind, RunStatus, sources_of

_AGENT = RUN.columns.index("agent")
_WRITTEN = (*END_COLUMNS, *ABORT_COLUMNS)
_KNOWN = tuple(column for column in COLUMNS if column not in {*_WRITTEN, "id"})
"""What is written when a run begins, or starts, and never again."""
_CLOSE = Statement(
    f"UPDATE {Run._meta.db_table} SET {assignments((*_WRITTEN, *SEAL_COLUMNS))} "  # noqa: S608 (names are ours)
    f"WHERE id = %s AND status = %s RETURNING {names(RUN.columns)}"
)


def _close_unasked(end: RunStatus) -> BulkUpdate:
    table, sources = Run._meta.db_table, ", ".join(f"'{source}'" for source in sources_of(end))
    # No index may serve this but that of the id: PostgreSQL would read all runs that are open, and all that were.
    condition = f"{table}.status || '' IN ({sources}) AND {table}.abort_requested_at IS NULL"
    return BulkUpdate(Run, (*_WRITTEN, *SEAL_COLUMNS), _KNOWN, condition)


_CLOSE_UNASKED = {end: _close_unasked(end) for end in sorted(FINAL_STATUSES) if sources_of(end)}
"""As nearly always: the row is what we know of it, and nobody has asked from elsewhere that the run be aborted.

No wish can come in between. What the row then holds is known without reading it.
"""


def close_runs(ends: Sequence[RunRecord], connection: BaseDatabaseWrapper) -> list[bool]:
    """Write the ends of runs as `close_run` does, which tells the rest, one after the other but in one go."""
    for end in ends:
        if end.status not in FINAL_STATUSES:
            raise ValueError(f"{end.status} is not an end")
    closed: list[bool] = []
    for status, group in groupby(ends, lambda end: RunStatus(end.status)):
        alike = list(group)
        done = _close_as_known(alike, status, connection)
        closed += [was or _close_after_a_look(end, connection) for end, was in zip(alike, done, strict=True)]
    return closed


def _close_as_known(ends: Sequence[RunRecord], status: RunStatus, connection: BaseDatabaseWrapper) -> list[bool]:
    """Close those whose row is as we know it; tells which that were."""
    statement = _CLOSE_UNASKED.get(status)
    if statement is None:
        return [False] * len(ends)
    batch = current_batch()
    seal = adapted(batch.id, connection) if batch is not None else None
    rows = []
    for end in ends:
        row = dict(zip(COLUMNS, values(end, COLUMNS, connection), strict=True))
        row |= {"seal": seal, "salts": RUN.new_salts() if batch is not None else None, "commitments": None}
        rows.append(row)
    closed = statement.run(rows, connection)
    for end, row, is_closed in zip(ends, rows, closed, strict=True):
        if is_closed:
            if batch is not None:
                batch.add(EntryKind.RUN, end.id, RUN.digest(row))
            announce(end, row["agent"], connection)
    return closed


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
    return close_runs([end], connection)[0]


def _close_after_a_look(end: RunRecord, connection: BaseDatabaseWrapper) -> bool:
    """Where the row has a wish to abort, or an end, or is not there."""
    # Locked, so that no wish to abort is written between the look and the update.
    runs = Run.objects.using(connection.alias).select_for_update()
    run = runs.only("status", "worker", "finished_at", *ABORT_COLUMNS).filter(pk=end.id).first()
    if run is None or RunStatus(run.status) not in sources_of(RunStatus(end.status)) or _runs_elsewhere(run, end):
        return _came_second(end, run, connection)
    end, note = _with_first_abort(end, run)
    final = [*values(end, _WRITTEN, connection), *seal_values(RUN, connection)]
    closed = _CLOSE.rows([*final, adapted(end.id, connection), run.status], connection)
    if (batch := current_batch()) is not None:
        batch.add_rows(EntryKind.RUN, closed)
    if closed:
        announce(end, closed[0][_AGENT], connection)
    if closed and note is not None:
        add_note(note, connection)
    if closed and run.abort_requested_at is not None:
        seal_loose_notes(end.id, connection)
    return bool(closed)


def _runs_elsewhere(run: Run, end: RunRecord) -> bool:
    """Whether it runs in another process than the one that would end it: a queued run may be handed over twice."""
    return run.status == RunStatus.RUNNING and run.worker != end.worker


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
