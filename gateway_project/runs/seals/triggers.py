"""What is final is append-only in the database itself, except under maintenance.

The triggers are put in place after each `migrate`, and again after a `flush`: SQLite drops a table's triggers
whenever a migration makes the table anew. They stop mistakes and other programs; whoever owns the database can switch
them off, which is what the seals are for.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run, RunContent, RunNote
from gateway_project.runs.seals.models import Seal
from gateway_project.runs.vocabulary import OPEN_STATUSES

_OPEN = ", ".join(f"'{status.value}'" for status in sorted(OPEN_STATUSES))

_TRIGGERS = (
    ("gateway_run_closed", "UPDATE", Run._meta.db_table, f"OLD.status NOT IN ({_OPEN})", "closed runs are append-only"),
    ("gateway_run_kept", "DELETE", Run._meta.db_table, "1 = 1", "runs are kept"),
    ("gateway_note_fixed", "UPDATE", RunNote._meta.db_table, "OLD.seal IS NOT NULL", "sealed notes are append-only"),
    ("gateway_note_kept", "DELETE", RunNote._meta.db_table, "1 = 1", "notes are kept"),
    ("gateway_content_fixed", "UPDATE", RunContent._meta.db_table, "1 = 1", "content is append-only"),
    ("gateway_content_kept", "DELETE", RunContent._meta.db_table, "1 = 1", "content is kept"),
    ("gateway_seal_fixed", "UPDATE", Seal._meta.db_table, "1 = 1", "seals are append-only"),
    ("gateway_seal_kept", "DELETE", Seal._meta.db_table, "1 = 1", "seals are kept"),
)
"""Name, operation, table, condition, what is said."""

_GUARDED = ("postgresql", "sqlite")
_TABLES = tuple(dict.fromkeys(table for _, _, table, _, _ in _TRIGGERS))

_FLAG_TABLE = "gateway_maintenance"
"""SQLite's flag. It holds a row only inside a transaction under maintenance, so that no other ever sees one."""

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION gateway_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('gateway.maintenance', true) = 'on' THEN
        IF TG_OP = 'UPDATE' THEN RETURN NEW; END IF;
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'gateway: %', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_POSTGRESQL_TRIGGER = (
    "CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW WHEN ({condition}) "
    "EXECUTE FUNCTION gateway_refuse('{message}')"
)
_POSTGRESQL_TRUNCATE = (
    "CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION gateway_refuse('{table} is kept')"
)
_SQLITE_TRIGGER = (
    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {operation} ON {table} FOR EACH ROW "
    "WHEN {condition} AND NOT EXISTS (SELECT 1 FROM gateway_maintenance) "
    "BEGIN SELECT RAISE(ABORT, 'gateway: {message}'); END"
)
_FIELDS = ("name", "operation", "table", "condition", "message")


def install(connection: BaseDatabaseWrapper) -> None:
    """Put in place the triggers that are not there."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {_FLAG_TABLE} (is_on INTEGER)")
            for trigger in _TRIGGERS:
                cursor.execute(_SQLITE_TRIGGER.format(**dict(zip(_FIELDS, trigger, strict=True))))
        elif connection.vendor == "postgresql":
            wanted = {
                trigger[0]: _POSTGRESQL_TRIGGER.format(**dict(zip(_FIELDS, trigger, strict=True)))
                for trigger in _TRIGGERS
            } | {f"{table}_whole": _POSTGRESQL_TRUNCATE.format(table=table) for table in _TABLES}
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = ANY(%s::regclass[])", [list(_TABLES)])
            # Looked for first: making one locks its table.
            missing = wanted.keys() - {name for (name,) in cursor.fetchall()}
            if missing:
                cursor.execute(_POSTGRESQL_FUNCTION)
            for name in sorted(missing):
                cursor.execute(wanted[name])


def install_after_migrate(*, using: str, **_: object) -> None:
    """Receiver of `post_migrate`."""
    connection = connections[using]
    if router.allow_migrate_model(using, Run) and _tables_are_there(connection):
        install(connection)


def _tables_are_there(connection: BaseDatabaseWrapper) -> bool:
    """Not when somebody has migrated back to an earlier state, or to none."""
    return set(_TABLES) <= set(connection.introspection.table_names())


@contextmanager
def maintenance(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction in which what is final may be changed or deleted. That it is sealed is its caller's business."""
    if connection.vendor not in _GUARDED:
        yield
        return
    with transaction.atomic(using=connection.alias):
        is_on = _is_on(connection)
        if not is_on:
            _switch(connection, on=True)
        yield
        if not is_on:
            _switch(connection, on=False)


def _is_on(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('gateway.maintenance', true)")
            return bool(cursor.fetchone()[0] == "on")
        cursor.execute(f"SELECT 1 FROM {_FLAG_TABLE}")  # noqa: S608 (the name is ours)
        return cursor.fetchone() is not None


def _switch(connection: BaseDatabaseWrapper, *, on: bool) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config('gateway.maintenance', %s, true)", ["on" if on else "off"])
        elif on:
            cursor.execute(f"INSERT INTO {_FLAG_TABLE} VALUES (1)")  # noqa: S608 (the name is ours)
        else:
            cursor.execute(f"DELETE FROM {_FLAG_TABLE}")  # noqa: S608 (the name is ours)
