"""Notes of a run: what its columns cannot hold."""

import uuid

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import RunNote
from gateway_project.runs.record import NOTE_COLUMNS, SEAL_COLUMNS, NoteRecord, values
from gateway_project.runs.seals.batch import EntryKind, current_batch
from gateway_project.runs.seals.canonical import NOTE
from gateway_project.runs.sql import adapted, insert_sql, names
from gateway_project.runs.statement import Statement

_TABLE = RunNote._meta.db_table
_INSERT = Statement(insert_sql(_TABLE, (*NOTE_COLUMNS, *SEAL_COLUMNS), returning=NOTE.columns))
_SEAL_LOOSE = Statement(
    f"UPDATE {_TABLE} SET seal = %s WHERE run_id = %s AND seal IS NULL "  # noqa: S608 (names are ours)
    f"RETURNING {names(NOTE.columns)}"
)


def add_note(note: NoteRecord, connection: BaseDatabaseWrapper) -> None:
    """Insert one note, in the caller's transaction. Where that is no journal's it is sealed with the run's end."""
    batch = current_batch()
    seal = batch.id if batch is not None else None
    parameters = [*values(note, NOTE_COLUMNS, connection), adapted(seal, connection), NOTE.new_salts()]
    inserted = _INSERT.rows(parameters, connection)
    if batch is not None:
        batch.add_rows(EntryKind.NOTE, inserted)


def seal_loose_notes(run_id: uuid.UUID, connection: BaseDatabaseWrapper) -> None:
    """Let the batch seal what was noted outside of a journal while the run was open."""
    if (batch := current_batch()) is not None:
        parameters = [adapted(batch.id, connection), adapted(run_id, connection)]
        batch.add_rows(EntryKind.NOTE, _SEAL_LOOSE.rows(parameters, connection))
