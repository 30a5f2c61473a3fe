"""What the journal can write. Each change applies itself to a connection, inside the writer's transaction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.alerts.outbox import announce
from gateway_project.runs.bulk import BulkInsert
from gateway_project.runs.close import close_run, close_runs
from gateway_project.runs.labels import add_labels, labels_of
from gateway_project.runs.lease import LOCK_ALIVE
from gateway_project.runs.models import Run
from gateway_project.runs.notes import add_note
from gateway_project.runs.record import (
    COLUMNS,
    NEVER_WHEN_OPEN,
    SEAL_COLUMNS,
    START_COLUMNS,
    NoteRecord,
    RunRecord,
    bare_end,
    is_untold,
    values,
)
from gateway_project.runs.seals.batch import EntryKind, current_batch, seal_values
from gateway_project.runs.seals.canonical import RUN
from gateway_project.runs.sql import assignments, insert_sql, marks
from gateway_project.runs.statement import Statement
from gateway_project.runs.vocabulary import OPEN_STATUSES, TRANSITIONS, RunStatus, sources_of

_OPEN_COLUMNS = tuple(column for column in COLUMNS if column not in NEVER_WHEN_OPEN)
_INSERT_UNTOLD = BulkInsert(Run, _OPEN_COLUMNS, NEVER_WHEN_OPEN, lock=LOCK_ALIVE)
_INSERT_OPEN = BulkInsert(Run, COLUMNS)
_INSERT_ENDED = Statement(insert_sql(Run._meta.db_table, (*COLUMNS, *SEAL_COLUMNS), returning=RUN.columns))
_START_SOURCES = sources_of(RunStatus.RUNNING)
_START = Statement(
    f"UPDATE {Run._meta.db_table} SET {assignments(START_COLUMNS)} "  # noqa: S608 (names are ours)
    f"WHERE id = %s AND status IN ({marks(len(_START_SOURCES))})"
)
_CALL = Statement(f"UPDATE {Run._meta.db_table} SET started_at = %s WHERE id = %s AND status = %s")  # noqa: S608 (ours)


class Change(Protocol):
    """Something to do in the writer's transaction. The result goes to whoever awaits it."""

    def apply(self, connection: BaseDatabaseWrapper) -> Any:
        """Do it. Must be safe to do again after a rollback."""


@runtime_checkable
class BulkChange(Change, Protocol):
    """A change of which several that follow each other can be made in one go. To be so is up to its class."""

    @staticmethod
    def apply_all(changes: Sequence[Any], connection: BaseDatabaseWrapper) -> Sequence[Any]:
        """Do them all, in order; the results in the same order. As safe to do again as `apply`."""


@dataclass(frozen=True, slots=True)
class InsertRun:
    """A new row, in any status that the transition table lets a row begin with.

    Raises:
        ValueError: in `apply`, for another status.
    """

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        self._check()
        if self.record.status in OPEN_STATUSES:
            _insert_open([self.record], connection)
        else:
            self._insert_ended(connection)

    def _insert_ended(self, connection: BaseDatabaseWrapper) -> None:
        parameters = [*values(self.record, COLUMNS, connection), *seal_values(RUN, connection)]
        inserted = _INSERT_ENDED.rows(parameters, connection)
        if (batch := current_batch()) is not None:
            batch.add_rows(EntryKind.RUN, inserted)
        if inserted:
            announce(self.record, self.record.agent, connection)
        add_labels([self.record], connection)

    @staticmethod
    def apply_all(changes: "Sequence[InsertRun]", connection: BaseDatabaseWrapper) -> list[None]:
        """See `BulkChange`."""
        _insert_open([change.record for change in changes if change.record.status in OPEN_STATUSES], connection)
        for change in changes:
            if change.record.status not in OPEN_STATUSES:
                change.apply(connection)
        return [None] * len(changes)

    def _check(self) -> None:
        if self.record.status not in TRANSITIONS[None]:
            raise ValueError(f"no row begins as {self.record.status}")


def begin_at_once(changes: Sequence[Change], connection: BaseDatabaseWrapper) -> bool:
    """Let runs of one worker begin by one statement, which looks after its lease too and is a transaction by itself.

    That is one round trip to PostgreSQL where an agent and its client would wait for four.

    Returns:
        Whether they have begun. If not, it must be done in a transaction, where it does no harm to do it again.
    """
    if connection.vendor != "postgresql" or not changes or not all(map(_is_bare_beginning, changes)):
        return False
    begun = [change.record for change in changes if isinstance(change, InsertRun)]
    worker = begun[0].worker
    if any(record.worker != worker for record in begun):
        return False
    rows = [values(record, _OPEN_COLUMNS, connection) for record in begun]
    return _INSERT_UNTOLD.run_locked(rows, worker, connection)


def _is_bare_beginning(change: Change) -> bool:
    """Whether it makes an open run's row and does no more."""
    if not isinstance(change, InsertRun) or change.record.status not in OPEN_STATUSES:
        return False
    return is_untold(change.record) and not any(labels_of(change.record.parameters))


def _insert_open(records: Sequence[RunRecord], connection: BaseDatabaseWrapper) -> None:
    untold, told = [], []
    for record in records:
        if is_untold(record):
            untold.append(values(record, _OPEN_COLUMNS, connection))
        else:
            told.append(values(record, COLUMNS, connection))
    _INSERT_UNTOLD.run(untold, connection)
    _INSERT_OPEN.run(told, connection)
    add_labels(records, connection)


@dataclass(frozen=True, slots=True)
class StartRun:
    """A queued run starts. The result tells whether it was still queued."""

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        parameters = values(self.record, (*START_COLUMNS, "id"), connection)
        return _START.run([*parameters, *map(str, _START_SOURCES)], connection) == 1


@dataclass(frozen=True, slots=True)
class CallAgent(StartRun):
    """The agent of a run is called that had to be prepared before. The result tells whether the run was still open."""

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        parameters = values(self.record, ("started_at", "id"), connection)
        return _CALL.run([*parameters, str(RunStatus.RUNNING)], connection) == 1


@dataclass(frozen=True, slots=True)
class CloseRun:
    """A run's end. The result tells whether the run has this end, as `close_run` says."""

    record: RunRecord

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        return close_run(self.record, connection)

    def bare(self) -> "CloseRun":
        """The same end without whatever might be refused in it."""
        return CloseRun(bare_end(self.record))

    @staticmethod
    def apply_all(changes: "Sequence[CloseRun]", connection: BaseDatabaseWrapper) -> list[bool]:
        """See `BulkChange`."""
        return close_runs([change.record for change in changes], connection)


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


def apply_changes(changes: Sequence[Change], connection: BaseDatabaseWrapper) -> list[Any]:
    """Do them, and return their results. In order, but that beginnings and ends of different runs may change places."""
    results: list[Any] = [None] * len(changes)
    for kind, group in groupby(_arranged(changes), lambda place: type(changes[place])):
        places = list(group)
        alike = [changes[place] for place in places]
        if len(alike) > 1 and issubclass(kind, BulkChange):
            found = kind.apply_all(alike, connection)
        else:
            found = [change.apply(connection) for change in alike]
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def _arranged(changes: Sequence[Change]) -> Iterator[int]:
    """The places of the changes in the order in which they are made: beginnings before ends, where nobody can tell."""
    for passing, group in groupby(range(len(changes)), lambda place: isinstance(changes[place], InsertRun | CloseRun)):
        places = list(group)
        if passing and len({changes[place].record.id for place in places}) == len(places):  # type: ignore[attr-defined]
            places.sort(key=lambda place: isinstance(changes[place], CloseRun))
        yield from places


def starting_worker(change: Change) -> str | None:
    """The worker of which a run is queued or starts with `change`; None when none does."""
    if isinstance(change, InsertRun | StartRun) and change.record.status in OPEN_STATUSES:
        return change.record.worker
    return None
