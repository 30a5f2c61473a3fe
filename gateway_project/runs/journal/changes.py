"""What the journal can write. Each change applies itself to a connection, inside the writer's transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.close import close_run
from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note
from gateway_project.runs.record import (
    COLUMNS,
    START_COLUMNS,
    NoteRecord,
    RunRecord,
    assignments,
    insert_sql,
    values,
)
from gateway_project.runs.vocabulary import RunStatus, sources_of

_INSERT = insert_sql(Run._meta.db_table, COLUMNS)
_START_SOURCES = sources_of(RunStatus.RUNNING)
_START = (
    f"UPDATE {Run._meta.db_table} SET {assignments(START_COLUMNS)} "  # noqa: S608 (names are ours)
    f"WHERE id = %s AND status IN ({', '.join(['%s'] * len(_START_SOURCES))})"
)


class Change(Protocol):
    """Something to do in the writer's transaction. The result goes to whoever awaits it."""

    def apply(self, connection: BaseDatabaseWrapper) -> Any:
        """Do it. Must be safe to do again after a rollback."""


@dataclass(frozen=True, slots=True)
class InsertRun:
    """A new row, in any status that the transition table lets a row begin with."""

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_INSERT, values(self.record, COLUMNS, connection))


@dataclass(frozen=True, slots=True)
class StartRun:
    """A queued run starts. The result tells whether it was still queued."""

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        with connection.cursor() as cursor:
            parameters = values(self.record, (*START_COLUMNS, "id"), connection)
            cursor.execute(_START, [*parameters, *map(str, _START_SOURCES)])
            started: bool = cursor.rowcount == 1
        return started


@dataclass(frozen=True, slots=True)
class CloseRun:
    """A run's end. The result tells whether this was the one that closed it."""

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        return close_run(self.record, connection)


@dataclass(frozen=True, slots=True)
class Note:
    """A note to a run."""

    record: NoteRecord

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        add_note(self.record, connection)


@dataclass(frozen=True, slots=True)
class Query:
    """Any question to the database, asked in the writer's thread so that it takes no other."""

    ask: Callable[[BaseDatabaseWrapper], Any]

    def apply(self, connection: BaseDatabaseWrapper) -> Any:
        return self.ask(connection)
