"""A run's row as plain data, its columns, and their values in order for a database."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from operator import attrgetter, getitem, itemgetter
from typing import Any, NamedTuple, Self

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import ids
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.sql import converters_of, storable, text_limits


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
    background: bool = False
    parent_run: uuid.UUID | None = None
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

    @classmethod
    def of(cls, run: Run) -> Self:
        """What is stored of `run`."""
        return cls(**{name: getattr(run, name) for name in COLUMNS})

    def __copy__(self) -> Self:
        """One that no longer changes with this. The library's own way would take three times as long."""
        other = object.__new__(type(self))
        for name in COLUMNS:
            setattr(other, name, getattr(self, name))
        return other


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

SEAL_COLUMNS = ("seal", "salts")
"""What is written beside the record when a row becomes final."""

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

NEVER_WHEN_OPEN: Mapping[str, Any] = {
    f.name: f.default
    for f in fields(RunRecord)
    if f.name in {*END_COLUMNS, *ABORT_COLUMNS} and f.name not in START_COLUMNS
}
"""What an open run has no value for, or only by somebody's wish to abort it, and what stands there instead."""

_its_end = attrgetter(*NEVER_WHEN_OPEN)
_NO_END = tuple(NEVER_WHEN_OPEN.values())


def is_untold(record: RunRecord) -> bool:
    """Whether the record tells nothing of an end or an abort."""
    return bool(_its_end(record) == _NO_END)


def values(record: RunRecord | NoteRecord, columns: tuple[str, ...], connection: BaseDatabaseWrapper) -> list[Any]:
    """The values of `columns`, in order, as `connection`'s driver wants them.

    Texts longer than their column are cut: a client's long header must not cost the record.
    """
    read = _reader(columns, of_run=isinstance(record, RunRecord))
    texts = read.texts(record)
    try:
        together = "".join(texts)
        is_plain = together.isascii() and "\x00" not in together
    except TypeError:
        is_plain = False  # An agent may have put anything there.
    stored = map(getitem, texts, read.cuts) if is_plain else map(_cut, texts, read.cuts)
    converters = converters_of(connection.vendor, connection.features.has_native_uuid_field)
    converted = [
        converter(value) if (converter := converters.get(type(value))) is not None else value
        for value in read.to_convert(record)
    ]
    return list(read.in_order((*stored, *read.plain(record), *converted)))


class _Reader(NamedTuple):
    """What reads columns: the texts, then numbers, then what drivers take in other forms; and puts all in order."""

    texts: "_Columns"
    cuts: tuple[slice, ...]
    plain: "_Columns"
    to_convert: "_Columns"
    in_order: "_Columns"


_Columns = Callable[[Any], tuple[Any, ...]]


@cache
def _reader(columns: tuple[str, ...], *, of_run: bool) -> _Reader:
    model = Run if of_run else RunNote
    limits = text_limits(model)
    numbers = {
        f.attname for f in model._meta.concrete_fields if isinstance(f, models.IntegerField | models.BooleanField)
    }
    texts = [column for column in columns if column in limits]
    plain = [column for column in columns if column in numbers]
    to_convert = [column for column in columns if column not in limits and column not in numbers]
    places = [[*texts, *plain, *to_convert].index(column) for column in columns]
    return _Reader(
        texts=_several(attrgetter, texts),
        cuts=tuple(slice(limits[column]) for column in texts),
        plain=_several(attrgetter, plain),
        to_convert=_several(attrgetter, to_convert),
        in_order=_several(itemgetter, places),
    )


def _several(getter: Callable[..., Any], keys: Sequence[Any]) -> _Columns:
    """A getter that returns a tuple also of one thing, or none."""
    if len(keys) > 1:
        found: _Columns = getter(*keys)
        return found
    gets = [getter(key) for key in keys]
    return lambda source: tuple(get(source) for get in gets)


def _cut(value: Any, cut: slice) -> Any:
    return value if value is None else storable(value if isinstance(value, str) else str(value))[cut]


def bare_end(record: RunRecord) -> RunRecord:
    """The end of a run without whatever a database might refuse in it: who, when and how only."""
    return RunRecord(
        id=record.id,
        status=record.status,
        endpoint=record.endpoint,
        worker=record.worker,
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
