"""The database itself refuses to change what is final, except under maintenance."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from gateway_project.runs.journal import InsertRun
from gateway_project.runs.models import Run, RunNote, Seal
from gateway_project.runs.seals.triggers import install, maintenance
from tests.runs.records import make_record
from tests.runs.seals.conftest import Sealed, Writer, verify

pytestmark = pytest.mark.django_db

_FORBIDDEN = [
    "UPDATE gateway_run SET output_tokens = 4",
    "UPDATE gateway_run SET seal = NULL",
    "DELETE FROM gateway_run",
    "UPDATE gateway_run_note SET text = ''",
    "DELETE FROM gateway_run_note",
    "UPDATE gateway_seal SET version = 2",
    "DELETE FROM gateway_seal",
]


def execute(sql: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("sql", _FORBIDDEN)
def test_what_is_final_is_append_only(sealed: Sealed, sql: str) -> None:
    with pytest.raises(IntegrityError, match="gateway: "):
        execute(sql)
    assert verify() == {}
    with maintenance(connection):
        execute(sql)
    assert verify()
    with pytest.raises(IntegrityError, match="gateway: "):
        execute("UPDATE gateway_run SET agent = 'other'" if Run.objects.exists() else _keep_one(sealed))


def _keep_one(sealed: Sealed) -> str:
    sealed.first.run()
    return "DELETE FROM gateway_run"


def test_an_open_run_changes_and_stays(sealed: Sealed) -> None:
    record = make_record()
    InsertRun(record).apply(connection)
    assert Run.objects.filter(pk=record.id).update(agent="other") == 1
    with pytest.raises(IntegrityError, match="runs are kept"), transaction.atomic():
        Run.objects.filter(pk=record.id).delete()


def test_maintenance_ends_with_an_error_too(sealed: Sealed) -> None:
    with pytest.raises(ZeroDivisionError), maintenance(connection):
        Run.objects.update(agent="other")
        raise ZeroDivisionError
    assert verify() == {}, "it was rolled back"
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.update(agent="other")


def test_maintenance_inside_of_maintenance(sealed: Sealed) -> None:
    with maintenance(connection):
        with maintenance(connection):
            pass
        Run.objects.update(agent="other")
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.update(agent="other")


def test_triggers_that_are_gone_come_back(sealed: Sealed) -> None:
    execute(f"DROP TRIGGER gateway_run_kept{' ON gateway_run' if connection.vendor == 'postgresql' else ''}")
    install(connection)
    install(connection)
    with pytest.raises(IntegrityError, match="runs are kept"):
        execute("DELETE FROM gateway_run")


@pytest.mark.django_db(transaction=True)
def test_flush_still_flushes() -> None:
    """As TransactionTestCase does after each test; and what comes after is guarded again."""
    Writer().run()
    call_command("flush", verbosity=0, interactive=False)
    assert [model._default_manager.count() for model in (Run, RunNote, Seal)] == [0, 0, 0]
    Writer().run()
    with pytest.raises(IntegrityError, match="runs are kept"):
        execute("DELETE FROM gateway_run")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL truncates")
def test_truncate_is_refused(sealed: Sealed) -> None:
    with pytest.raises(IntegrityError, match="gateway: "):
        execute("TRUNCATE gateway_run CASCADE")
