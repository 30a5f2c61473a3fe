"""The canonical form of a row that is final, and its digest: the same on every database and Python.

A digest is SHA-256 over JSON without spaces, in ASCII: a list of the row's kind and version, its fields in a fixed
order, and a commitment for each group of personal fields. Times are microseconds since the epoch, UTC; ids 32 hex
digits; JSON's keys are sorted, and its numbers are written as digits and exponent, without trailing zeros, since
databases spell them differently. The id is not part of it: it stands beside the digest, in the seal.

A commitment is SHA-256 over a group's salt and its fields. Erasing deletes the salt and keeps the commitment: the
digest still holds, and nobody can find out by trying what the fields were.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from typing import Any

from django.db import models
from pydantic_core import to_json

from gateway_project.ids import random_bytes
from gateway_project.octets import DEL
from gateway_project.runs.models import Run, RunContent, RunNote
from gateway_project.spelling import speller

VERSION = 1
"""Of what new seals are made by. Never change a version: add one, and keep those before for what they sealed."""

SALT_BYTES = 16
HASH_BYTES = 32

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (of times that a driver gives in UTC without saying so)
_DAY = 24 * 60 * 60
_SECOND = 1_000_000
_NO_SALT = bytes(SALT_BYTES)

Row = Mapping[str, Any]
"""A row as a database driver gives it, by column."""

UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a value raises that no application of ours can have written. SQLite stores anything anywhere."""


def stored_bytes(value: object) -> bytes:
    """A binary column's value; nothing when somebody has put anything else there."""
    return bytes(value) if isinstance(value, (bytes, memoryview)) else b""


def stored_id(value: Any) -> uuid.UUID | None:
    """An id, which SQLite gives as hex digits; None when somebody has put anything else there."""
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    except UNREADABLE:
        return None


@dataclass(frozen=True)
class Layout:
    """What of a table's rows is sealed, in which order, and which fields are personal."""

    name: str
    model: type[models.Model]
    fields: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    rows_at_a_time: int = 500
    """How many are read in one question: as many as fit into little memory, and SQLite takes no endless list."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All that must be read to check a row."""
        return ("id", "seal", "salts", "commitments", *self.fields, *self._personal)

    @cached_property
    def _personal(self) -> tuple[str, ...]:
        return tuple(field for group in self.groups.values() for field in group)

    @cached_property
    def _forms(self) -> Sequence[Callable[[Any], Any]]:
        return [self._canonical[name] for name in self.fields]

    @cached_property
    def _read(self) -> Callable[[Row], tuple[Any, ...]]:
        return itemgetter(*self.fields)

    @cached_property
    def _groups(self) -> Sequence[tuple[str, slice, slice, Sequence[tuple[str, Callable[[Any], Any]]]]]:
        """Of each group: name, place of its salt, place of its commitment, fields."""
        return [
            (
                group,
                slice(index * SALT_BYTES, (index + 1) * SALT_BYTES),
                slice(index * HASH_BYTES, (index + 1) * HASH_BYTES),
                [(name, self._canonical[name]) for name in names],
            )
            for index, (group, names) in enumerate(self.groups.items())
        ]

    @cached_property
    def _canonical(self) -> Mapping[str, Callable[[Any], Any]]:
        return {name: _FORMS[_base(self.model, name)] for name in (*self.fields, *self._personal)}

    def new_salts(self) -> bytes:
        """A salt for each group, to be kept in the row."""
        return random_bytes(SALT_BYTES * len(self.groups))

    def digest(self, row: Row) -> bytes:
        """The digest of a row. What was erased enters by the commitment that was kept."""
        fields = [form(value) for form, value in zip(self._forms, self._read(row), strict=True)]
        commitments = [commitment.hex() for commitment in self.commitments(row)]
        return _hash([self.name, VERSION, fields, commitments])

    def commitments(self, row: Row) -> list[bytes]:
        """One for each group: of its fields, or, where its salt is gone, the one that was kept."""
        salts, kept = stored_bytes(row["salts"]), stored_bytes(row["commitments"])
        return [
            _hash([salt.hex(), group, [form(row[name]) for name, form in fields]])
            if (salt := salts[place]).strip(b"\x00")
            else kept[kept_place]
            for group, place, kept_place, fields in self._groups
        ]

    def erased(self, row: Row) -> list[str]:
        """The groups whose salt is gone."""
        salts = stored_bytes(row["salts"])
        parts = [salts[index * SALT_BYTES : (index + 1) * SALT_BYTES] for index in range(len(self.groups))]
        return [group for group, salt in zip(self.groups, parts, strict=True) if not salt.strip(b"\x00")]

    def leftovers(self, row: Row) -> list[str]:
        """Fields that have a value although their group is erased: no digest speaks for them."""
        return [name for group in self.erased(row) for name in self.values(row, group)]

    def values(self, row: Row, group: str) -> list[str]:
        """Those fields of a group that have a value."""
        return [name for name in self.groups[group] if not self._is_blank(name, row[name])]

    def _is_blank(self, name: str, value: Any) -> bool:
        form = self._canonical[name]
        try:
            return bool(form(value) == form(self._blank[name]))
        except UNREADABLE:
            return False

    @cached_property
    def _blank(self) -> Mapping[str, Any]:
        """What a personal field holds once it is erased."""
        return {name: {} if _base(self.model, name) is models.JSONField else "" for name in self._personal}

    def erase(self, row: Row, groups: Sequence[str]) -> dict[str, Any]:
        """The columns to write so that `groups` are gone for good and the digest stays what it was."""
        changes: dict[str, Any] = {}
        if not row["salts"]:  # It was recorded before there were seals: no digest rests on it.
            return {name: self._blank[name] for group in groups for name in self.groups[group]}
        salts = bytearray(row["salts"])
        for index, group in enumerate(self.groups):
            if group in groups:
                salts[index * SALT_BYTES : (index + 1) * SALT_BYTES] = _NO_SALT
                changes |= {name: self._blank[name] for name in self.groups[group]}
        return changes | {"salts": bytes(salts), "commitments": b"".join(self.commitments(row))}


def _hash(content: list[Any]) -> bytes:
    return hashlib.sha256(_written(content)).digest()


def _written(content: list[Any]) -> bytes:
    """JSON in ASCII, as Python's library writes it.

    pydantic-core does in a third of the time, but for what is not ASCII, and for DEL, which Python escapes.
    """
    try:
        quickly = to_json(content)
    except ValueError:  # half a surrogate pair
        return _spelled(content).encode()
    return quickly if quickly.isascii() and DEL not in quickly else _spelled(content).encode()


_spelled = speller(separators=(",", ":"))


def _base(model: type[models.Model], name: str) -> type[Any]:
    field = model._meta.get_field(name.removesuffix("_id") if name == "run_id" else name)
    return next(base for base in _FORMS if isinstance(field, base))


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _boolean(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _id(value: Any) -> str | None:
    if value is None:
        return None
    return value.hex if isinstance(value, uuid.UUID) else uuid.UUID(value).hex


def _moment(value: Any) -> int | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    since = moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)
    return int((since.days * _DAY + since.seconds) * _SECOND + since.microseconds)


def _json(value: Any) -> Any:
    if value == "{}":
        return {"o": {}}  # as nearly always
    text = value if isinstance(value, str) else json.dumps(value)
    return _plain(json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)  # no infinity comes out of the reader
        written = "".join(map(str, digits)).lstrip("0")
        shortest = written.rstrip("0")
        if not shortest:
            return {"n": "0"}
        return {"n": f"{'-' * sign}{shortest}e{exponent + len(written) - len(shortest)}"}
    if isinstance(value, dict):
        return {"o": {key: _plain(value[key]) for key in sorted(value)}}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


_FORMS: Mapping[type[Any], Callable[[Any], Any]] = {
    models.CharField: str,
    models.TextField: str,
    models.BooleanField: _boolean,
    models.IntegerField: _integer,
    models.DateTimeField: _moment,
    models.UUIDField: _id,
    models.ForeignKey: _id,
    models.JSONField: _json,
}

RUN = Layout(
    "run",
    Run,
    fields=(
        "status",
        "endpoint",
        "agent",
        "model",
        "requested_model",
        "streaming",
        "background",
        "parent_run",
        "worker",
        "received_at",
        "started_at",
        "first_output_at",
        "abort_requested_at",
        "settled_at",
        "finished_at",
        "abort_cause",
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
    ),
    groups={
        "identity": (
            "principal_kind",
            "principal_id",
            "principal_label",
            "client_address",
            "user_agent",
            "client_request_id",
            "parameters",  # `user`, `safety_identifier` and `metadata` are in there.
        ),
        "asker": ("abort_requested_by", "abort_reason"),
    },
)
NOTE = Layout("note", RunNote, fields=("run_id", "at", "kind"), groups={"said": ("by", "text")})
CONTENT = Layout(
    "content",
    RunContent,
    fields=("run_id", "at", "mode", "remarks", "request_characters", "answer_characters", "delivered_characters"),
    groups={"request": ("request", "request_digest"), "answer": ("answer", "answer_digest")},
    rows_at_a_time=10,
)
