"""Rows of one table written in one go: a loop in the driver on SQLite, one statement for all of them on PostgreSQL.

PostgreSQL takes the rows as one parameter, in JSON: values bound one by one cost both sides more than what is done
with them. The statement is planned each time it runs, so that its plan never is of a table that was smaller then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from pydantic_core import to_json

from gateway_project.runs.sql import assignments, names
from gateway_project.runs.statement import Statement

Values = Sequence[Any]
"""Of one row, in order, as `runs.record.values` gives them."""

Row = Mapping[str, Any]
"""The same by column."""

_ID = "id"


class BulkInsert:
    """New rows of `model`. A row that is there already stays as it is.

    Args:
        columns: of which values are given, in order.
        constants: what all of the rows have in other columns.
        lock: SQL that finds and locks one row (PostgreSQL), for `run_locked`.
    """

    def __init__(
        self,
        model: type[models.Model],
        columns: tuple[str, ...],
        constants: Mapping[str, Any] | None = None,
        *,
        lock: str | None = None,
    ) -> None:
        self._columns = columns
        self._binary = _binary(model, columns)
        fixed = dict(constants or {})
        into = f"INSERT INTO {model._meta.db_table} ({names((*columns, *fixed))})"
        # The same row may come again: a commit's answer can get lost, and a spill file be replayed twice.
        otherwise = f"ON CONFLICT ({_ID}) DO NOTHING"
        literals = [_literal(value) for value in fixed.values()]
        marks = ", ".join([*["%s"] * len(columns), *literals])
        given = ", ".join([*(_given(model, column) for column in columns), *literals])
        self._each = Statement(f"{into} VALUES ({marks}) {otherwise}")
        all_ = f"SELECT {given} FROM {_rows_of(model)}"  # noqa: S608 (names are ours)
        self._all = Statement(f"{into} {all_} {otherwise}")
        self._all_locked = Statement(f"WITH locked AS ({lock}) {into} {all_}, locked {otherwise}")

    def run(self, rows: Sequence[Values], connection: BaseDatabaseWrapper) -> None:
        """Insert them."""
        if not rows:
            return
        if connection.vendor == "postgresql":
            self._all.run([self._encoded(rows)], connection)
        else:
            self._each.run_many(rows, connection)

    def run_locked(self, rows: Sequence[Values], which: Any, connection: BaseDatabaseWrapper) -> bool:
        """Insert them in one statement that first locks a row, and does nothing where there is none (PostgreSQL).

        Args:
            which: the parameter of the row to lock.

        Returns:
            Whether all of them were inserted.
        """
        return self._all_locked.run([which, self._encoded(rows)], connection) == len(rows)

    def _encoded(self, rows: Sequence[Values]) -> str:
        return _encode((dict(zip(self._columns, values, strict=True)) for values in rows), self._binary)


class BulkUpdate:
    """Changes of rows of `model`, each of which must be there and be as it is expected.

    Args:
        written: the columns that get new values.
        expected: the columns that must have the values given.
        condition: SQL of what else must hold.
    """

    def __init__(
        self, model: type[models.Model], written: tuple[str, ...], expected: tuple[str, ...], condition: str
    ) -> None:
        columns = (*written, _ID, *expected)
        self._binary = _binary(model, columns)
        self._values: Callable[[Row], Values] = itemgetter(*columns)
        table = model._meta.db_table
        all_ = ", ".join(f'"{column}" = {_given(model, column)}' for column in written)
        same = "".join(f' AND {table}."{column}" IS NOT DISTINCT FROM %s' for column in expected)
        same_of_all = "".join(
            f' AND {table}."{column}" IS NOT DISTINCT FROM {_given(model, column)}' for column in expected
        )
        self._each = Statement(f"UPDATE {table} SET {assignments(written)} WHERE {_ID} = %s AND {condition}{same}")  # noqa: S608 (names are ours)
        self._all = Statement(
            f"UPDATE {table} SET {all_} FROM {_rows_of(model)} "  # noqa: S608 (names are ours)
            # Once more which, so that PostgreSQL knows how few: of the rows given it takes no count.
            f"WHERE {table}.{_ID} = ANY(%s::uuid[]) AND {table}.{_ID} = given.{_ID} AND {condition}{same_of_all} "
            f"RETURNING {table}.{_ID}"
        )

    def run(self, rows: Sequence[Row], connection: BaseDatabaseWrapper) -> list[bool]:
        """Change them, one after the other; tells of each whether it was as expected."""
        if connection.vendor != "postgresql":
            return self._each.changes_of_many([self._values(row) for row in rows], connection)
        first = {row[_ID]: row for row in reversed(rows)}  # Who comes second finds another row than expected.
        which = f"{{{','.join(id_.hex for id_ in first)}}}"
        changed = {id_ for (id_,) in self._all.rows([_encode(first.values(), self._binary), which], connection)}
        return [row[_ID] in changed and first[row[_ID]] is row for row in rows]


def _rows_of(model: type[models.Model]) -> str:
    return f"json_populate_recordset(NULL::{model._meta.db_table}, %s) AS given"


def _given(model: type[models.Model], column: str) -> str:
    """A column of the rows given. JSON in it came as text."""
    is_json = isinstance(model._meta.get_field(column), models.JSONField)
    return f"(given.\"{column}\" #>> '{{}}')::jsonb" if is_json else f'given."{column}"'


def _binary(model: type[models.Model], columns: Iterable[str]) -> list[str]:
    """Those that hold bytes, of which JSON knows none."""
    return [column for column in columns if isinstance(model._meta.get_field(column), models.BinaryField)]


def _encode(rows: Iterable[Row], binary: Sequence[str]) -> str:
    """Rows in JSON as PostgreSQL reads them. Times are in UTC: an offset of seconds would not come out right."""
    return to_json([{**row, **{name: _hex(row[name]) for name in binary}} for row in rows]).decode()


def _hex(value: bytes | None) -> str | None:
    return None if value is None else f"\\x{value.hex()}"


def _literal(value: Any) -> str:
    """A constant in SQL."""
    match value:
        case None:
            return "NULL"
        case "":
            return "''"
        case int() if not isinstance(value, bool):
            return str(value)
    raise ValueError(f"{value!r} is not written as a constant")
