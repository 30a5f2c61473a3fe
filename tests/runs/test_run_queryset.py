"""What is asked of the runs again and again, and how long a history it may be asked of.

Where the time of a run may lead only PostgreSQL would go the long way (see `tests.test_postgresql`).
"""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_project import clock
from gateway_project.execution.remote import wishes_for
from gateway_project.runs.close import close_runs
from gateway_project.runs.lease import sweep
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause
from tests.runs.records import begun, completed

pytestmark = pytest.mark.django_db

OWN, OTHER = "a" * 32, "b" * 32


def end(records: list[RunRecord]) -> None:
    close_runs([completed(record) for record in records], connection)


def wish(*records: RunRecord) -> None:
    runs = Run.objects.filter(pk__in=[record.id for record in records])
    runs.update(abort_requested_at=clock.now(), abort_cause=AbortCause.OPERATOR_CANCELLED)


def test_wished_are_a_workers_own_that_run_and_that_somebody_wants_aborted() -> None:
    wished, ended, _ = begun(3, worker=OWN)
    others = begun(1, worker=OTHER)
    wish(wished, ended, *others)
    end([ended])
    assert [wish.run_id for wish in wishes_for(OWN, connection)] == [wished.id]
    assert [wish.run_id for wish in wishes_for(OTHER, connection)] == [others[0].id]


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize("still_open", [0, 20])
def test_what_is_asked_again_and_again_does_not_walk_through_all_that_ever_ran(
    *, is_analyzed: bool, still_open: int
) -> None:
    end(begun(3000, worker=OWN))
    begun(still_open, worker=OWN)
    with connection.cursor() as cursor:
        if is_analyzed:
            cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as asked:
        assert not wishes_for(OWN, connection)
        sweep(connection)
    plans = [explained(each["sql"]) for each in asked if 'FROM "gateway_run" ' in each["sql"]]
    assert len(plans) == 3
    indexes = {index for plan in plans for index in re.findall("gateway_run_[a-z]+", plan)}
    assert indexes
    assert indexes <= {"gateway_run_open", "gateway_run_status"}, "\n".join(plans)


def explained(sql: str) -> str:
    prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        return "\n".join(str(row) for row in cursor.fetchall())
