"""Notes of a run: what its columns cannot hold."""

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import RunNote
from gateway_project.runs.record import NOTE_COLUMNS, NoteRecord, insert_sql, values

_INSERT = insert_sql(RunNote._meta.db_table, NOTE_COLUMNS)


def add_note(note: NoteRecord, connection: BaseDatabaseWrapper) -> None:
    """Insert one note, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values(note, NOTE_COLUMNS, connection))
