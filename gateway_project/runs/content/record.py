"""The content of a run as plain data, and the change that keeps it."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import ids
from gateway_project.runs.content.models import RunContent
from gateway_project.runs.journal.lines import spilled
from gateway_project.runs.record import SEAL_COLUMNS
from gateway_project.runs.seals.batch import EntryKind, current_batch
from gateway_project.runs.seals.canonical import CONTENT
from gateway_project.runs.sql import adapted, insert_sql

logger = logging.getLogger("gateway.content")


@dataclass(slots=True, kw_only=True)
class ContentRecord:
    """One row of `gateway_run_content`, field by field as in `RunContent`. Its texts hold nothing unredacted."""

    id: uuid.UUID = field(default_factory=ids.uuid7)
    run_id: uuid.UUID
    at: datetime
    mode: str
    remarks: str = ""
    request: str = ""
    request_digest: str = ""
    request_characters: int = 0
    answer: str = ""
    answer_digest: str = ""
    answer_characters: int = 0
    delivered_characters: int = 0


CONTENT_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(ContentRecord))

_INSERT = insert_sql(RunContent._meta.db_table, (*CONTENT_COLUMNS, *SEAL_COLUMNS), returning=CONTENT.columns)


@spilled
class KeepContent:
    """A change: the content of a run is kept. Done again it does nothing.

    Args:
        record: what is kept, or what makes it: redacting takes time, so the journal's thread does it, before its
            transaction begins, and before anything of it reaches a file.
    """

    def __init__(self, record: ContentRecord | Callable[[], ContentRecord]) -> None:
        self._record = record

    @property
    def record(self) -> ContentRecord:
        """What is kept."""
        if callable(self._record):
            self._record = self._record()
        return self._record

    def prepare(self) -> None:
        """Make it."""
        _ = self.record

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        """Write it, and let the seal know its digest."""
        batch = current_batch()
        seal = batch.id if batch is not None else None
        values = [adapted(getattr(self.record, column), connection) for column in CONTENT_COLUMNS]
        with connection.cursor() as cursor:
            cursor.execute(_INSERT, [*values, adapted(seal, connection), CONTENT.new_salts()])
            if batch is not None:
                batch.add_rows(EntryKind.CONTENT, cursor.fetchall())
