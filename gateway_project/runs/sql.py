"""Columns as SQL names them, and values as a database and its driver take them."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


def names(columns: Sequence[str]) -> str:
    """``"a", "b"``: both databases take double quotes."""
    return ", ".join(f'"{column}"' for column in columns)


def marks(count: int) -> str:
    """``%s, %s``: so many parameters."""
    return ", ".join(["%s"] * count)


def assignments(columns: Sequence[str]) -> str:
    """``"a" = %s, "b" = %s`` for an UPDATE."""
    return ", ".join(f'"{column}" = %s' for column in columns)


def insert_sql(table: str, columns: tuple[str, ...], *, returning: tuple[str, ...] = ()) -> str:
    """A parametrised INSERT of `columns`, in order, that does nothing and returns nothing when the row is there."""
    # The same row may come again: a commit's answer can get lost, and a spill file be replayed twice.
    insert = f"INSERT INTO {table} ({names(columns)}) VALUES ({marks(len(columns))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (names are ours)
    return f"{insert} RETURNING {names(returning)}" if returning else insert


@cache
def text_limits(model: type[models.Model]) -> Mapping[str, int]:
    """How many characters each text column of `model` takes."""
    return {
        f.name: f.max_length
        for f in model._meta.concrete_fields
        if isinstance(f, models.CharField) and f.max_length is not None
    }


def storable(value: Any) -> Any:
    """`value` without what a database refuses: NUL in text (PostgreSQL) and lone surrogates."""
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", "\ufffd")
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def adapted(value: Any, connection: BaseDatabaseWrapper) -> Any:
    """One value as `connection`'s driver wants it."""
    converter = converters_of(connection.vendor, connection.features.has_native_uuid_field).get(type(value))
    return converter(value) if converter else value


@cache
def converters_of(vendor: str, uses_native_uuid: bool) -> Mapping[type, Callable[[Any], Any]]:
    """How values of a type are handed to the database driver; others are as they are."""
    converters: dict[type, Callable[[Any], Any]] = {dict: _json_text}
    if not uses_native_uuid:
        converters[uuid.UUID] = attrgetter("hex")
    if vendor == "sqlite":
        # Naive: spelling an offset only to cut it takes half as long again.
        converters[datetime] = lambda value: value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return converters


def _json_text(value: Mapping[str, Any]) -> str:
    return json.dumps(storable(value), cls=DjangoJSONEncoder) if value else "{}"
