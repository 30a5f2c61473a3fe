"""A run's row as plain data, and the one place that knows how its columns reach a database."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import ids
from gateway_project.runs.models import Run, RunNote


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One row of `gateway_run`, field by field as in `Run`. Owned by the run's supervisor."""

    id: uuid.UUID
    status: str
    endpoint: str
    received_at: datetime
    agent: str = ""
    model: str = ""
    requested_model: str = ""
    streaming: bool = False
    worker: str = ""
    principal_kind: str = ""
    principal_id: str = ""
    principal_label: str = ""
    client_address: str = ""
    user_agent: str = ""
    client_request_id: str = ""
    started_at: datetime | None = None
    first_output_at: datetime | None = None
    abort_requested_at: datetime | None = None
    settled_at: datetime | None = None
    finished_at: datetime | None = None
    abort_cause: str = ""
    abort_phase: str = ""
    abort_outcome: str = ""
    abort_requested_by: str = ""
    abort_reason: str = ""
    delivered: bool | None = None
    http_status: int | None = None
    finish_reason: str = ""
    events_sent: int = 0
    bytes_sent: int = 0
    tokens_sent: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str = ""
    error_type: str = ""
    error_code: str = ""
    error_message: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class NoteRecord:
    """One row of `gateway_run_note`."""

    id: uuid.UUID = field(default_factory=ids.uuid7)
    run_id: uuid.UUID
    at: datetime
    kind: str
    by: str = ""
    text: str = ""


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(RunRecord))
NOTE_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(NoteRecord))

START_COLUMNS = ("status", "started_at", "worker")
"""What changes when a queued run starts."""

ABORT_COLUMNS = ("abort_requested_at", "abort_cause", "abort_requested_by", "abort_reason")
"""What a request to abort writes; the first request keeps them."""

END_COLUMNS = (
    "status",
    "started_at",
    "first_output_at",
    "settled_at",
    "finished_at",
    "abort_phase",
    "abort_outcome",
    "delivered",
    "http_status",
    "finish_reason",
    "events_sent",
    "bytes_sent",
    "tokens_sent",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "usage_source",
    "error_type",
    "error_code",
    "error_message",
)
"""What a run's end writes, besides `ABORT_COLUMNS`."""


@cache
def text_limits(model: type[models.Model]) -> Mapping[str, int]:
    """How many characters each text column of `model` takes."""
    return {
        f.name: f.max_length
        for f in model._meta.concrete_fields
        if isinstance(f, models.CharField) and f.max_length is not None
    }


@cache
def _converters(vendor: str, uses_native_uuid: bool) -> Mapping[type, Callable[[Any], Any]]:
    """How values of a type are handed to the database driver."""
    converters: dict[type, Callable[[Any], Any]] = {
        dict: lambda value: json.dumps(_storable(value), cls=DjangoJSONEncoder)
    }
    if not uses_native_uuid:
        converters[uuid.UUID] = lambda value: value.hex
    if vendor == "sqlite":
        converters[datetime] = lambda value: value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return converters


def values(record: RunRecord | NoteRecord, columns: tuple[str, ...], connection: BaseDatabaseWrapper) -> list[Any]:
    """The values of `columns`, in order, as `connection`'s driver wants them.

    Texts longer than their column are cut: a client's long header must not cost the record.
    """
    limits = text_limits(Run if isinstance(record, RunRecord) else RunNote)
    converters = _converters(connection.vendor, connection.features.has_native_uuid_field)
    result: list[Any] = []
    for column in columns:
        value = getattr(record, column)
        if isinstance(value, str):
            result.append(_storable(value)[: limits[column]])
        else:
            converter = converters.get(type(value))
            result.append(converter(value) if converter else value)
    return result


def _storable(value: Any) -> Any:
    """`value` without what a database refuses: NUL in text (PostgreSQL) and lone surrogates."""
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", "\ufffd")
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def bare_end(record: RunRecord) -> RunRecord:
    """The end of a run without whatever a database might refuse in it: who, when and how only."""
    return RunRecord(
        id=record.id,
        status=record.status,
        endpoint=record.endpoint,
        received_at=record.received_at,
        started_at=record.started_at,
        settled_at=record.settled_at,
        finished_at=record.finished_at,
        abort_requested_at=record.abort_requested_at,
        abort_cause=record.abort_cause,
        abort_phase=record.abort_phase,
        abort_outcome=record.abort_outcome,
        error_code=record.error_code or "record_refused",
    )


def insert_sql(table: str, columns: tuple[str, ...]) -> str:
    """A parametrised INSERT of `columns`, in order, that does nothing when the row is there."""
    marks = ", ".join(["%s"] * len(columns))
    names = ", ".join(quoted(columns))
    # The same row may come again: a commit's answer can get lost, and a spill file be replayed twice.
    return f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (names are ours)


def quoted(columns: tuple[str, ...]) -> list[str]:
    """Column names quoted for SQL (both databases take double quotes)."""
    return [f'"{column}"' for column in columns]


def assignments(columns: tuple[str, ...]) -> str:
    """``"a" = %s, "b" = %s`` for an UPDATE."""
    return ", ".join(f"{column} = %s" for column in quoted(columns))
