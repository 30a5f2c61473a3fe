"""How responses reach their table: changes for the journal, and what is read from it."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import attrgetter

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.access.principal import Principal
from gateway_project.conf import gateway_settings
from gateway_project.runs.journal import spilled
from gateway_project.runs.sql import adapted, insert_sql
from gateway_project.runs.statement import Statement

from .models import OPEN_STATUSES, StoredFrames, StoredResponse, StoredResponseQuerySet

_TABLE = StoredResponse._meta.db_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRecord:
    """One row of `gateway_response`, field by field as in `StoredResponse`."""

    id: uuid.UUID
    principal_kind: str
    principal_id: str
    previous: uuid.UUID | None
    status: str
    background: bool
    created_at: datetime
    request: str
    input: str
    body: str


_COLUMNS = tuple(field.name for field in fields(ResponseRecord))
_INSERT = Statement(insert_sql(_TABLE, (*_COLUMNS, "expires_at")))
_values = attrgetter(*_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesRecord:
    """Some events of a stream, from `first_number` on, and the response's status with them."""

    id: uuid.UUID
    status: str
    first_number: int
    frames: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRecord:
    """How a response ended, with the last events of its stream."""

    id: uuid.UUID
    status: str
    body: str
    first_number: int
    frames: str


@spilled
@dataclass(frozen=True, slots=True)
class StoreResponse:
    """A change: a response is kept from here on. Done again it does nothing."""

    record: ResponseRecord

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        expires_at = self.record.created_at + timedelta(days=gateway_settings().RESPONSES.RETENTION_DAYS)
        row = (*_values(self.record), expires_at)
        _INSERT.run([adapted(value, connection) for value in row], connection)


@spilled
@dataclass(frozen=True, slots=True)
class AppendFrames:
    """A change: more of the stream. Of a response that was deleted meanwhile nothing is kept."""

    record: FramesRecord

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        """Keep it. The result tells whether there is a response to keep it of."""
        new = self.record
        parameters = (new.first_number, new.frames, adapted(new.id, connection), str(new.status))
        if _append(connection).run(parameters, connection):
            return True
        if not _open(new.id, connection).update(status=new.status):
            return False
        _insert_frames(new.id, new.first_number, new.frames, connection)
        return True


@spilled
@dataclass(frozen=True, slots=True)
class EndResponse:
    """A change: a response has ended. The first end is the one that counts."""

    record: EndRecord

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        end = self.record
        if _open(end.id, connection).update(status=end.status, body=end.body, request="") and end.frames:
            _insert_frames(end.id, end.first_number, end.frames, connection)


@dataclass(frozen=True, slots=True)
class MarkFollowed:
    """A change: for so many seconds from now somebody follows the stream, in some process."""

    response_id: uuid.UUID
    seconds: float

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        until = clock.now() + timedelta(seconds=self.seconds)
        _open(self.response_id, connection).update(followed_until=until)


_INTO_FRAMES = (
    f"INSERT INTO {StoredFrames._meta.db_table} (response_id, first_number, frames) "  # noqa: S608 (names are ours)
    f"SELECT id, %s, %s FROM {_TABLE} WHERE id = %s AND status = %s"
)
_APPEND = Statement(f"{_INTO_FRAMES} ON CONFLICT DO NOTHING")
_APPEND_LOCKING = Statement(f"{_INTO_FRAMES} FOR UPDATE ON CONFLICT DO NOTHING")


def _append(connection: BaseDatabaseWrapper) -> Statement:
    """Adds events to a response that has the status already: so nearly all of a stream is kept.

    The response's row is locked against its deletion, and not written: SQLite would go through all of it, ten megabytes
    of input among them.
    """
    return _APPEND_LOCKING if connection.vendor == "postgresql" else _APPEND


def _open(response_id: uuid.UUID, connection: BaseDatabaseWrapper) -> StoredResponseQuerySet:
    return StoredResponse.objects.using(connection.alias).filter(pk=response_id, status__in=sorted(OPEN_STATUSES))


def _insert_frames(id_: uuid.UUID, first_number: int, frames: str, connection: BaseDatabaseWrapper) -> None:
    row = StoredFrames(response_id=id_, first_number=first_number, frames=frames)
    StoredFrames.objects.using(connection.alias).bulk_create([row], ignore_conflicts=True)


def responses_of(principal: Principal) -> StoredResponseQuerySet:
    """The stored responses that a principal may ask for now."""
    rows = StoredResponse.objects.using(gateway_settings().DATABASE)
    return rows.of(principal.kind, principal.id, at=clock.now())


_TURNS_AT_A_TIME = 10
"""Few, for each may be as large as a body may be; many, for a conversation of an agent and its tools has hundreds."""

_TURNS_BACK = f"""
WITH RECURSIVE turn(id, previous, place) AS (
    SELECT id, previous, 1 FROM {_TABLE} WHERE id = %s
    UNION ALL
    SELECT earlier.id, earlier.previous, place + 1
    FROM turn JOIN {_TABLE} earlier ON earlier.id = turn.previous WHERE place < {_TURNS_AT_A_TIME}
)
SELECT response.id, response.previous, status, input, body
FROM turn JOIN {_TABLE} response ON response.id = turn.id
WHERE principal_kind = %s AND principal_id = %s AND expires_at > %s ORDER BY place
"""  # noqa: S608 (the name is ours)


def turns_back(last: uuid.UUID, principal: Principal) -> Iterator[StoredResponse]:
    """A response, the one that it continues, and so on, as far as the principal may ask for them now."""
    alias = gateway_settings().DATABASE
    whose = (principal.kind, principal.id, clock.now())
    next_id: uuid.UUID | None = last
    while next_id is not None:
        parameters = [adapted(value, connections[alias]) for value in (next_id, *whose)]
        turns = list(StoredResponse.objects.using(alias).raw(_TURNS_BACK, parameters))
        for turn in turns:
            if turn.id != next_id:
                return
            yield turn
            next_id = turn.previous
        if len(turns) < _TURNS_AT_A_TIME:
            return
