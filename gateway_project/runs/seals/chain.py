"""The chain of seals that one writer makes, a seal for each transaction that made something final.

A seal's hash is SHA-256 over its version, chain, number and time, the hash of the seal before, its entries, and the
heads of other chains that it names. A chain's first seal, and later one an hour, names every chain that has grown
since it was last named: so no chain can be cut or vanish without a gap in another.
"""

import hashlib
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock, ids
from gateway_project.runs.seals.batch import Batch, collecting, pack
from gateway_project.runs.seals.canonical import HASH_BYTES, VERSION, stored_bytes, stored_id
from gateway_project.runs.seals.models import Chain, Seal
from gateway_project.runs.sql import adapted, marks, names
from gateway_project.runs.statement import Statement

logger = logging.getLogger("gateway.seals")

NAMES_OTHERS_AFTER = timedelta(hours=1)
_NO_HASH = bytes(HASH_BYTES)
_HEAD_BYTES = 16 + 8 + HASH_BYTES

_SEAL_COLUMNS = ("id", "chain", "number", "version", "previous", "sealed_at", "entries", "heads", "hash")
_CHAIN_COLUMNS = ("id", "writer", "head_number", "head_hash", "head_at", "named_number")


def _insert(table: str, columns: tuple[str, ...]) -> Statement:
    return Statement(f"INSERT INTO {table} ({names(columns)}) VALUES ({marks(len(columns))})")  # noqa: S608 (names are ours)


_INSERT_SEAL = _insert(Seal._meta.db_table, _SEAL_COLUMNS)
_INSERT_CHAIN = _insert(Chain._meta.db_table, _CHAIN_COLUMNS)
_MOVE = (
    f"UPDATE {Chain._meta.db_table} SET head_number = %s, head_hash = %s, head_at = %s "  # noqa: S608 (names are ours)
    "WHERE id = %s AND head_number = %s"
)
_MOVE_HEAD = Statement(_MOVE)
_APPEND = Statement(
    f"WITH moved AS ({_MOVE} RETURNING id) "  # noqa: S608 (names are ours)
    f"INSERT INTO {Seal._meta.db_table} ({names(_SEAL_COLUMNS)}) "
    f"SELECT {marks(len(_SEAL_COLUMNS))} FROM moved"
)
"""Both in one round trip (PostgreSQL)."""


_UNNAMED = Statement(
    f"SELECT id, head_number, head_hash FROM {Chain._meta.db_table} "  # noqa: S608 (the name is ours)
    "WHERE head_number > named_number ORDER BY id"
)


class Head(NamedTuple):
    """The last seal of a chain, or one that was the last at some time."""

    chain: uuid.UUID
    number: int
    hash: bytes


def seal_hash(
    *, version: int, chain: uuid.UUID, number: int, previous: bytes, sealed_at: datetime, entries: bytes, heads: bytes
) -> bytes:
    """What binds a seal to all before it. Every part has a fixed length, or enters by its digest."""
    microseconds = (sealed_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    parts = (
        b"gateway-seal",
        version.to_bytes(2, "big"),
        chain.bytes,
        number.to_bytes(8, "big"),
        previous,
        microseconds.to_bytes(8, "big"),
        hashlib.sha256(entries).digest(),
        hashlib.sha256(heads).digest(),
    )
    return hashlib.sha256(b"".join(parts)).digest()


def pack_heads(heads: Iterable[Head]) -> bytes:
    """The heads as they are stored and hashed."""
    return b"".join(head.chain.bytes + head.number.to_bytes(8, "big") + head.hash for head in heads)


def unpack_heads(packed: bytes) -> Iterator[Head]:
    """The heads that a seal names."""
    for start in range(0, len(packed) - _HEAD_BYTES + 1, _HEAD_BYTES):
        part = packed[start : start + _HEAD_BYTES]
        yield Head(uuid.UUID(bytes=part[:16]), int.from_bytes(part[16:24], "big"), part[24:])


def stored_head(chain: uuid.UUID, number: Any, hash_: Any) -> Head:
    """The head that a row tells of; when somebody has put anything else there, one that no chain has."""
    found = stored_bytes(hash_)
    is_head = isinstance(number, int) and number > 0 and len(found) == HASH_BYTES
    return Head(chain, number, found) if is_head else Head(chain, -1, b"")


def unnamed_heads(connection: BaseDatabaseWrapper, *, but: uuid.UUID | None = None) -> list[Head]:
    """The ends of the chains that no other chain's seal names as they are: what came before hangs on these.

    Args:
        but: a chain to leave out.
    """
    rows = _UNNAMED.rows([], connection)
    heads = [stored_head(chain, *head) for id_, *head in rows if (chain := stored_id(id_)) is not None]
    return [head for head in heads if head.number > 0 and head.chain != but]


class ChainWriter:
    """One writer's end of its chain. Used by one thread; a process that forks makes a new one."""

    def __init__(self) -> None:
        self._chain = ids.uuid7()
        self._head: Head | None = None
        """As last committed; None when that is not known."""
        self._named_at: datetime | None = None

    @contextmanager
    def transaction(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """A transaction whose ends and notes are sealed by its own commit: both are there, or neither."""
        try:
            with collecting() as batch, transaction.atomic(using=connection.alias):
                yield
                head = self._seal(batch, connection) if batch.entries else self._head
        except BaseException:
            self._head = None  # The commit's answer may have got lost: ask the database where the chain ends.
            self._named_at = None
            raise
        self._head = head

    def _seal(self, batch: Batch, connection: BaseDatabaseWrapper) -> Head:
        head = self._head or _last_seal(self._chain, connection)
        sealed = self._write(batch, head, connection)
        if sealed is None:
            # Somebody has changed the chain's row. What is to be recorded must not wait for who finds out why.
            logger.error("seals.chain_disturbed", extra={"chain": str(self._chain)})
            self._chain = ids.uuid7()
            sealed = self._write(batch, None, connection)
            assert sealed is not None
        return sealed

    def _write(self, batch: Batch, head: Head | None, connection: BaseDatabaseWrapper) -> Head | None:
        """Append a seal behind `head`; None when the chain's row does not end there."""
        now = clock.now()
        names_others = head is None or self._named_at is None or now - self._named_at >= NAMES_OTHERS_AFTER
        others = unnamed_heads(connection, but=self._chain) if names_others else []
        number, previous = (head.number + 1, head.hash) if head else (1, _NO_HASH)
        entries, heads = pack(batch.entries), pack_heads(others)
        hash_ = seal_hash(
            version=VERSION,
            chain=self._chain,
            number=number,
            previous=previous,
            sealed_at=now,
            entries=entries,
            heads=heads,
        )
        seal = _all_adapted((batch.id, self._chain, number, VERSION, previous, now, entries, heads, hash_), connection)
        if head is None:
            writer = f"{socket.gethostname()}:{os.getpid()}"
            _INSERT_CHAIN.run(_all_adapted((self._chain, writer, number, hash_, now, 0), connection), connection)
            _INSERT_SEAL.run(seal, connection)
        elif not _append(seal, _all_adapted((number, hash_, now, self._chain, head.number), connection), connection):
            return None
        if names_others:
            _mark_named(others, connection)
            self._named_at = now
        return Head(self._chain, number, hash_)


def _append(seal: list[Any], moved: list[Any], connection: BaseDatabaseWrapper) -> bool:
    """Write a seal behind the head that the chain's row still has; False when it has another."""
    if connection.vendor == "postgresql":
        return _APPEND.run([*moved, *seal], connection) == 1
    if _MOVE_HEAD.run(moved, connection) != 1:
        return False
    _INSERT_SEAL.run(seal, connection)
    return True


def _all_adapted(values: Iterable[Any], connection: BaseDatabaseWrapper) -> list[Any]:
    return [adapted(value, connection) for value in values]


def _last_seal(chain: uuid.UUID, connection: BaseDatabaseWrapper) -> Head | None:
    seals = Seal.objects.using(connection.alias).filter(chain=chain).order_by("-number")
    last = seals.values_list("number", "hash").first()
    return stored_head(chain, *last) if last else None


def _mark_named(heads: Iterable[Head], connection: BaseDatabaseWrapper) -> None:
    """Spare the next namer those. A chain that is just being written is left out: nobody waits for another here."""
    numbers = {head.chain: head.number for head in heads}
    chains = Chain.objects.using(connection.alias)
    free = chains.filter(pk__in=numbers).select_for_update(skip_locked=True, no_key=True)
    for chain in list(free.values_list("pk", flat=True)):
        chains.filter(pk=chain, named_number__lt=numbers[chain]).update(named_number=numbers[chain])
