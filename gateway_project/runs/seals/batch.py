"""What a transaction makes final, collected until its seal is written.

Whatever closes a run or writes a note adds it here. Outside of a journal there is no batch: such a row stays
without a seal, and `verifyruns` finds it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import ids
from gateway_project.runs.seals.canonical import CONTENT, HASH_BYTES, NOTE, RUN, Layout, Row
from gateway_project.runs.sql import adapted

ENTRY_BYTES = 1 + 16 + HASH_BYTES


class EntryKind(IntEnum):
    """What an entry of a seal says of its object. Stored: never renumber."""

    RUN = 1
    """A run has ended; the digest is its row's."""
    NOTE = 2
    """A note was written; the digest is its row's."""
    PURGED = 3
    """A row was deleted when its time was over; the digest is what its own seal says."""
    ERASED = 4
    """Personal fields of a row were erased; the digest is what its own seal says."""
    CONTENT = 5
    """The content of a run was kept; the digest is its row's."""


LAYOUTS: Mapping[EntryKind, Layout] = {EntryKind.RUN: RUN, EntryKind.NOTE: NOTE, EntryKind.CONTENT: CONTENT}
"""The kinds of entries that are rows of a table."""


class Entry(NamedTuple):
    """One object in a seal."""

    kind: EntryKind
    object_id: uuid.UUID
    digest: bytes


@dataclass(slots=True)
class Batch:
    """The entries of the seal that is to be."""

    id: uuid.UUID = field(default_factory=ids.uuid7)
    entries: list[Entry] = field(default_factory=list)

    def add(self, kind: EntryKind, object_id: uuid.UUID, digest: bytes) -> None:
        """Let the seal say this of an object."""
        self.entries.append(Entry(kind, object_id, digest))

    def add_rows(self, kind: EntryKind, rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows as the database returned them, in the order of their layout's columns."""
        layout = LAYOUTS[kind]
        for values in rows:
            row = dict(zip(layout.columns, values, strict=True))
            self.add(kind, row_id(row), layout.digest(row))


def row_id(row: Row) -> uuid.UUID:
    """A row's id; SQLite gives it as hex digits."""
    value = row["id"]
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def pack(entries: Iterable[Entry]) -> bytes:
    """The entries as they are stored and hashed."""
    return b"".join(b"%c%b%b" % (kind, object_id.bytes, digest) for kind, object_id, digest in entries)


def unpack(packed: bytes) -> Iterator[Entry]:
    """The entries of a seal. Of damaged bytes whatever can be read: their hash has told already."""
    for start in range(0, len(packed) - ENTRY_BYTES + 1, ENTRY_BYTES):
        kind = packed[start]
        if kind in _KINDS:
            object_id = uuid.UUID(bytes=packed[start + 1 : start + 17])
            yield Entry(EntryKind(kind), object_id, packed[start + 17 : start + ENTRY_BYTES])


_KINDS = frozenset(EntryKind)
_CURRENT: ContextVar[Batch | None] = ContextVar("gateway_seal_batch", default=None)


def current_batch() -> Batch | None:
    """The batch of the transaction that runs in this thread, if its writer seals."""
    return _CURRENT.get()


def seal_values(layout: Layout, connection: BaseDatabaseWrapper) -> tuple[Any, Any]:
    """The values of `SEAL_COLUMNS` for a row that becomes final now; nothing where nobody seals."""
    batch = current_batch()
    return (None, None) if batch is None else (adapted(batch.id, connection), layout.new_salts())


@contextmanager
def collecting() -> Iterator[Batch]:
    """Collect what is made final."""
    batch = Batch()
    token = _CURRENT.set(batch)
    try:
        yield batch
    finally:
        _CURRENT.reset(token)
