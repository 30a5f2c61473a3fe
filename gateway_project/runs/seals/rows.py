"""Rows and seals as verification reads them: few at a time, always by key."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.seals.batch import Entry, EntryKind, row_id, stored_bytes, unpack
from gateway_project.runs.seals.canonical import Layout, Row
from gateway_project.runs.seals.chain import Head
from gateway_project.runs.seals.models import Chain, Seal, Tombstone
from gateway_project.runs.sql import adapted, marks, names

Item = TypeVar("Item")

_AT_A_TIME = 500
"""Ids in one question: SQLite takes no endless list."""


def rows_by_id(layout: Layout, ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper) -> dict[uuid.UUID, Row]:
    """Those of the rows that are there, as the driver gives them; one that it cannot read is all None."""
    found: dict[uuid.UUID, Row] = {}
    for chunk in chunks(ids, layout.rows_at_a_time):
        sql = (
            f"SELECT {names(layout.columns)} FROM {layout.model._meta.db_table} "  # noqa: S608 (names are ours)
            f"WHERE id IN ({marks(len(chunk))})"
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, [adapted(id_, connection) for id_ in chunk])
                rows = [dict(zip(layout.columns, values, strict=True)) for values in cursor.fetchall()]
        except (ValueError, TypeError):
            # SQLite stores anything anywhere, and Django's converters choke on it.
            if len(chunk) == 1:
                found[chunk[0]] = dict.fromkeys(layout.columns)
            else:
                middle = len(chunk) // 2
                for half in (chunk[:middle], chunk[middle:]):
                    found |= rows_by_id(layout, half, connection)
        else:
            found |= {row_id(row): row for row in rows}
    return found


def page_of(
    layout: Layout, after: uuid.UUID | None, size: int, connection: BaseDatabaseWrapper
) -> dict[uuid.UUID, uuid.UUID | None]:
    """The rows that follow by id, each with the seal that it names."""
    sql = (
        f"SELECT id, seal FROM {layout.model._meta.db_table} "  # noqa: S608 (names are ours)
        f"{'WHERE id > %s ' if after else ''}ORDER BY id LIMIT {size}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [adapted(after, connection)] if after else [])
        return {row_id({"id": id_}): _seal(seal) for id_, seal in cursor.fetchall()}


def claims_of(connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Of which seal each chain's row says that another chain names it."""
    claiming = Chain.objects.using(connection.alias).filter(named_number__gt=0)
    return {chain.hex: number for chain, number in claiming.values_list("pk", "named_number")}


def seals_named(
    layout: Layout, ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper
) -> dict[uuid.UUID, uuid.UUID | None]:
    """The seals that these rows name."""
    named: dict[uuid.UUID, uuid.UUID | None] = {}
    for chunk in chunks(ids):
        sql = f"SELECT id, seal FROM {layout.model._meta.db_table} WHERE id IN ({marks(len(chunk))})"  # noqa: S608 (names are ours)
        with connection.cursor() as cursor:
            cursor.execute(sql, [adapted(id_, connection) for id_ in chunk])
            named |= {row_id({"id": id_}): _seal(seal) for id_, seal in cursor.fetchall()}
    return named


def _seal(value: Any) -> uuid.UUID | None:
    """What a row names as its seal; of what is no id, a seal that nobody has."""
    if value is None or isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return uuid.UUID(int=0)


def chunks(items: Iterable[Item], size: int = _AT_A_TIME) -> Iterator[list[Item]]:
    """The items, a question's worth at a time."""
    listed = list(items)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]


def recorded(kind: EntryKind, objects: Iterable[uuid.UUID], connection: BaseDatabaseWrapper) -> set[Entry]:
    """The entries of this kind that seals hold of these objects, found through the tombstones."""
    wanted = set(objects)
    entries: set[Entry] = set()
    for chunk in chunks(wanted):
        stones = Tombstone.objects.using(connection.alias).filter(kind=kind, object_id__in=chunk)
        for seal in set(stones.values_list("seal", flat=True)):
            packed = Seal.objects.using(connection.alias).filter(pk=seal).values_list("entries", flat=True).first()
            entries.update(e for e in unpack(stored_bytes(packed)) if e.kind is kind and e.object_id in wanted)
    return entries


def entries_of(seals: Iterable[uuid.UUID], connection: BaseDatabaseWrapper) -> Iterator[tuple[uuid.UUID, list[Entry]]]:
    """The entries of those of the seals that are there."""
    for chunk in chunks(seals):
        rows = Seal.objects.using(connection.alias).filter(pk__in=chunk).values_list("pk", "entries")
        for seal, packed in rows.iterator(chunk_size=50):
            yield seal, list(unpack(stored_bytes(packed)))


def next_chain(after: uuid.UUID | None, connection: BaseDatabaseWrapper) -> uuid.UUID | None:
    """The chain that follows, be it that only its seals are left, or only its row."""
    seals = Seal.objects.using(connection.alias).order_by("chain", "number")
    chains = Chain.objects.using(connection.alias).order_by("pk")
    if after is not None:
        seals, chains = seals.filter(chain__gt=after), chains.filter(pk__gt=after)
    candidates = [seals.values_list("chain", flat=True).first(), chains.values_list("pk", flat=True).first()]
    return min((chain for chain in candidates if chain is not None), default=None)


def head_of(chain: uuid.UUID, connection: BaseDatabaseWrapper) -> Head | None:
    """Where the chain ends by its own row."""
    row = Chain.objects.using(connection.alias).filter(pk=chain).values_list("head_number", "head_hash").first()
    return Head(chain, row[0], bytes(row[1])) if row else None


def hash_at(chain: uuid.UUID, number: int, connection: BaseDatabaseWrapper) -> bytes | None:
    """The hash of a seal; None when it is not there."""
    seals = Seal.objects.using(connection.alias).filter(chain=chain, number=number)
    found = seals.values_list("hash", flat=True).first()
    return None if found is None else bytes(found)


def as_utc(moment: datetime) -> datetime:
    """A time as the ORM gives it, which depends on ``USE_TZ``."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
