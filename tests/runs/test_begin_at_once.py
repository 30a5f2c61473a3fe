"""Runs that begin by one statement, which is done on PostgreSQL and where nothing else is to be written.

`tests/test_postgresql.py` runs this file there; on SQLite it says that nothing of the kind is done.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from gateway_project import clock, ids
from gateway_project.runs.journal.changes import Change, CloseRun, InsertRun, begin_at_once
from gateway_project.runs.lease import EndLease, RenewLease, sweep
from gateway_project.runs.models import Run, Worker
from gateway_project.runs.record import COLUMNS
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db

DONE_HERE = connection.vendor == "postgresql"


@pytest.fixture
def worker() -> str:
    name = ids.uuid7().hex
    assert RenewLease(name, 15).apply(connection)
    return name


def beginnings(worker: str, number: int = 1, **fields: Any) -> list[InsertRun]:
    return [InsertRun(make_record(worker=worker, **fields)) for _ in range(number)]


@pytest.mark.parametrize("number", [1, 3])
def test_they_are_written_as_they_are(worker: str, number: int) -> None:
    changes = beginnings(worker, number, parameters={"temperature": 0.5}, user_agent="Åsa's \\ \x00")
    assert begin_at_once(changes, connection) is DONE_HERE
    assert Run.objects.count() == (number if DONE_HERE else 0)
    for run in Run.objects.all():
        [record] = [change.record for change in changes if change.record.id == run.id]
        record.user_agent = "Åsa's \\ \ufffd"
        assert {name: getattr(run, name) for name in COLUMNS} == {name: getattr(record, name) for name in COLUMNS}


def lapse(worker: str) -> None:
    Worker.objects.filter(pk=worker).update(lease_until=clock.now() - timedelta(seconds=1))


def lose(worker: str) -> None:
    lapse(worker)
    with transaction.atomic():
        assert sweep(connection).workers == 1


def end(worker: str) -> None:
    EndLease(worker).apply(connection)


def forget(worker: str) -> None:
    Worker.objects.all().delete()


@pytest.mark.parametrize("happened", [lapse, lose, end, forget])
def test_none_begins_whose_worker_has_no_lease(worker: str, happened: Any) -> None:
    happened(worker)
    assert not begin_at_once(beginnings(worker), connection)
    assert not Run.objects.exists()


def more_than_rows(worker: str) -> Sequence[Sequence[Change]]:
    [one] = beginnings(worker)
    return [
        [],
        beginnings(worker, parameters={"user": "alice"}),
        beginnings(worker, parameters={"metadata": {"order": "4711"}}),
        beginnings(worker, status=RunStatus.REJECTED),
        beginnings(worker, abort_reason="x"),
        [one, *beginnings("w" * 32)],
        [one, CloseRun(one.record)],
    ]


def test_what_is_more_than_rows_of_one_worker_is_left_to_a_transaction(worker: str) -> None:
    for changes in more_than_rows(worker):
        assert not begin_at_once(changes, connection)
    assert not Run.objects.exists()


def test_one_that_has_begun_before_changes_nothing(worker: str) -> None:
    changes = beginnings(worker)
    changes[0].apply(connection)
    changes[0].record.agent = "other"
    assert not begin_at_once(changes, connection)
    assert Run.objects.get().agent == "scripted"


@pytest.mark.django_db(transaction=True)
def test_nobody_takes_the_worker_for_lost_before_it_is_committed(worker: str) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")

    def is_free() -> bool:
        try:
            with transaction.atomic():
                workers = Worker.objects.select_for_update(skip_locked=True, no_key=True)
                return len(workers.filter(pk=worker)) == 1
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert begin_at_once(beginnings(worker), connection)
            assert not pool.submit(is_free).result(30)
        assert pool.submit(is_free).result(30)
