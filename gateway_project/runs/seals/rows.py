"""Rows and seals as verification reads them: few at a time, always by key."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.seals.batch import Entry, EntryKind, row_id, unpack
from gateway_project.runs.seals.canonical import UNREADABLE, Layout, Row, stored_bytes, stored_id
from gateway_project.runs.seals.chain import Head, stored_head
from gateway_project.runs.seals.models import Chain, Seal, Tombstone
from gateway_project.runs.sql import adapted, marks, names

Item = TypeVar("Item")

_NO_SEAL = 2**63 - 1
"""Of a number that is none: no chain is as long."""

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
        except UNREADABLE:  # Django's converters choke on it.
            if len(chunk) == 1:
                found[chunk[0]] = dict.fromkeys(layout.columns)
            else:
                middle = len(chunk) // 2
                for half in (chunk[:middle], chunk[middle:]):
                    found |= rows_by_id(layout, half, connection)
        else:
            found |= {row_id(row): row for row in rows}
    return found


class Page(NamedTuple):
    """Rows by their ids, each with the seal that it names; and ids that are none."""

    seal_of: dict[uuid.UUID, uuid.UUID | None]
    no_ids: list[Any]


def page_of(layout: Layout, after: uuid.UUID | None, size: int, connection: BaseDatabaseWrapper) -> Page:
    """The rows that follow by id."""
    sql = (
        f"SELECT id, seal FROM {layout.model._meta.db_table} "  # noqa: S608 (names are ours)
        f"{'WHERE id > %s ' if after else ''}ORDER BY id LIMIT {size}"
    )
    page = Page({}, [])
    with connection.cursor() as cursor:
        cursor.execute(sql, [adapted(after, connection)] if after else [])
        for stored, seal in cursor.fetchall():
            if (id_ := stored_id(stored)) is None:
                page.no_ids.append(stored)
            else:
                page.seal_of[id_] = _id_or_none_known(seal)
    return page


def claims_of(connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Of which seal each chain's row says that another chain names it."""
    sql = f"SELECT id, named_number FROM {Chain._meta.db_table} WHERE named_number > 0"  # noqa: S608 (the name is ours)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {
            chain.hex: number if isinstance(number, int) else _NO_SEAL
            for id_, number in cursor.fetchall()
            if (chain := stored_id(id_)) is not None
        }


def seals_named(
    layout: Layout, ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper
) -> dict[uuid.UUID, uuid.UUID | None]:
    """The seals that these rows name."""
    return _named("seal", layout, ids, connection)


def runs_named(
    layout: Layout, ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper
) -> dict[uuid.UUID, uuid.UUID | None]:
    """The runs that these rows belong to."""
    return _named("run_id", layout, ids, connection)


def _named(
    column: str, layout: Layout, ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper
) -> dict[uuid.UUID, uuid.UUID | None]:
    named: dict[uuid.UUID, uuid.UUID | None] = {}
    for chunk in chunks(ids):
        table = layout.model._meta.db_table
        sql = f"SELECT id, {column} FROM {table} WHERE id IN ({marks(len(chunk))})"  # noqa: S608 (names are ours)
        with connection.cursor() as cursor:
            cursor.execute(sql, [adapted(id_, connection) for id_ in chunk])
            named |= {row_id({"id": id_}): _id_or_none_known(value) for id_, value in cursor.fetchall()}
    return named


def _id_or_none_known(value: Any) -> uuid.UUID | None:
    """What a row names; of what is no id, one that nobody has."""
    return None if value is None else stored_id(value) or uuid.UUID(int=0)


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


def seals_after(chain: uuid.UUID, number: int, size: int, connection: BaseDatabaseWrapper) -> list[Seal]:
    """The seals that follow in a chain. One that cannot be read is left out, and so is missing."""
    # What is no number is to SQLite larger than all that are.
    seals = Seal.objects.using(connection.alias).filter(chain=chain, number__gt=number, number__lt=_NO_SEAL)
    in_order = seals.order_by("number")
    try:
        return list(in_order[:size])
    except UNREADABLE:
        found: list[Seal] = []
        for each in in_order.values_list("number", flat=True)[:size]:
            with suppress(*UNREADABLE):
                found += seals.filter(number=each)
        return found


def next_chain(after: uuid.UUID | None, connection: BaseDatabaseWrapper) -> uuid.UUID | None:
    """The chain that follows, be it that only its seals are left, or only its row."""
    following = (
        _next_id(column, model, adapted(after, connection) if after else None, connection)
        for column, model in (("chain", Seal), ("id", Chain))
    )
    return min((chain for chain in following if chain is not None), default=None)


def _next_id(column: str, model: type[models.Model], after: Any, connection: BaseDatabaseWrapper) -> uuid.UUID | None:
    """The smallest id behind `after`. What is none is passed by: it is missing where it should be."""
    while True:
        where = "" if after is None else f"WHERE {column} > %s "
        sql = f"SELECT {column} FROM {model._meta.db_table} {where}ORDER BY {column} LIMIT 1"  # noqa: S608 (names are ours)
        with connection.cursor() as cursor:
            cursor.execute(sql, [] if after is None else [after])
            found = cursor.fetchone()
        if found is None:
            return None
        (after,) = found
        if (id_ := stored_id(after)) is not None:
            return id_


def head_of(chain: uuid.UUID, connection: BaseDatabaseWrapper) -> Head | None:
    """Where the chain ends by its own row."""
    row = Chain.objects.using(connection.alias).filter(pk=chain).values_list("head_number", "head_hash").first()
    return stored_head(chain, *row) if row else None


def hash_at(chain: uuid.UUID, number: int, connection: BaseDatabaseWrapper) -> bytes | None:
    """The hash of a seal; None when it is not there."""
    seals = Seal.objects.using(connection.alias).filter(chain=chain, number=number)
    found = seals.values_list("hash", flat=True).first()
    return None if found is None else stored_bytes(found)


def as_utc(moment: datetime) -> datetime:
    """A time as the ORM gives it, which depends on ``USE_TZ``."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
