"""SQL that is run again and again, handed to the driver without Django's cursor around it.

Django's cursor translates the parameter marks, wraps every call and remembers the query: work for each statement that
costs as much as the statement. Its connection, transactions and errors are used all the same.
"""

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

Rows = list[tuple[Any, ...]]


class Statement:
    """One statement. ``%s`` marks parameters, which must be as the driver wants them.

    Raises of all methods:
        django.db.Error: as Django's own cursor does.
    """

    def __init__(self, sql: str) -> None:
        self._sql = sql
        # The standard's word for it is new in SQLite 3.39.
        self._for_sqlite = sql.replace("IS NOT DISTINCT FROM", "IS").replace("%s", "?")

    def run(self, parameters: Sequence[Any], connection: BaseDatabaseWrapper) -> int:
        """Run it, and say how many rows it changed."""
        with connection.wrap_database_errors:
            return int(self._executed(parameters, connection).rowcount)

    def rows(self, parameters: Sequence[Any], connection: BaseDatabaseWrapper) -> Rows:
        """Run it, and return what it returns."""
        with connection.wrap_database_errors:
            found: Rows = self._executed(parameters, connection).fetchall()
        return found

    def run_many(self, parameters: Sequence[Sequence[Any]], connection: BaseDatabaseWrapper) -> None:
        """Run it for each of the parameters."""
        with connection.wrap_database_errors:
            if connection.vendor == "postgresql":
                _cursor(connection).executemany(self._sql, parameters)
            else:
                _driver(connection).executemany(self._for_sqlite, parameters)

    def changes_of_many(self, parameters: Sequence[Sequence[Any]], connection: BaseDatabaseWrapper) -> list[bool]:
        """Run it for each of the parameters (SQLite), and say of each whether it changed a row."""
        cursor = _driver(connection).cursor()
        with connection.wrap_database_errors:
            return [cursor.execute(self._for_sqlite, each).rowcount > 0 for each in parameters]

    def _executed(self, parameters: Sequence[Any], connection: BaseDatabaseWrapper) -> Any:
        if connection.vendor == "postgresql":
            return _cursor(connection).execute(self._sql, parameters)
        return _driver(connection).execute(self._for_sqlite, parameters)


def _driver(connection: BaseDatabaseWrapper) -> Any:
    """The driver's own connection."""
    if connection.connection is None:
        connection.ensure_connection()
    return connection.connection


def _cursor(connection: BaseDatabaseWrapper) -> Any:
    """A cursor of psycopg's whose parameters the server binds, where Django's would be pasted into the text."""
    from psycopg import Cursor

    return Cursor(_driver(connection))
