"""Many rows in one go: beginnings and ends."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from gateway_project import clock
from gateway_project.runs.close import close_runs
from gateway_project.runs.journal import CloseRun, InsertRun
from gateway_project.runs.models import Run
from gateway_project.runs.record import COLUMNS, RunRecord
from gateway_project.runs.vocabulary import NoteKind, RunStatus
from tests.runs.records import begun, completed, make_record
from tests.runs.seals.conftest import PERSON, Writer, verified

pytestmark = pytest.mark.django_db

ODD: dict[str, Any] = PERSON | {
    "principal_label": "Åsa \\ \"'%s?\u2028😀",
    "user_agent": "x\x00" * 300,
    "parameters": {"user": "Åsa", "metadata": {"a\\b": '"', "n": 1e300}},
}


def failed(record: RunRecord) -> RunRecord:
    return completed(record, status=RunStatus.FAILED, delivered=False, error_code="upstream_down")


def stored(record: RunRecord) -> dict[str, Any]:
    run = Run.objects.get(pk=record.id)
    return {name: getattr(run, name) for name in COLUMNS}


def as_row(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in COLUMNS}


def test_beginnings_come_back_as_they_were_written_whatever_they_tell() -> None:
    records = [
        make_record(parent_run=make_record().id, parameters={"user": "Åsa", "n": [1, None]}),
        make_record(output_tokens=0, delivered=False),
        make_record(status=RunStatus.QUEUED, started_at=None, background=True),
    ]
    InsertRun.apply_all([InsertRun(record) for record in records], connection)
    assert [stored(record) for record in records] == [as_row(record) for record in records]


def test_a_beginning_that_comes_again_changes_nothing() -> None:
    records = begun()
    again = [InsertRun(replace(record, agent="other")) for record in records]
    InsertRun.apply_all([*again, *again], connection)
    assert [stored(record) for record in records] == [as_row(record) for record in records]


def test_an_end_needs_no_look_at_its_row(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ends = [completed(record, output_tokens=7, bytes_sent=2**40) for record in begun(parent_run=make_record().id)]
    with django_assert_num_queries(0):
        assert close_runs(ends, connection) == [True] * 3
    assert [stored(end) for end in ends] == [as_row(end) for end in ends]


def test_nor_does_one_of_odd_texts(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ends = [completed(record) for record in begun(**ODD)]
    with django_assert_num_queries(0):
        assert close_runs(ends, connection) == [True] * 3


def test_ends_of_several_kinds_keep_their_places() -> None:
    one, two, three = begun()
    gone = make_record()
    ends = [completed(one), completed(gone), failed(two), completed(three)]
    assert close_runs(ends, connection) == [True, False, True, True]
    assert [stored(record)["status"] for record in (one, two, three)] == ["completed", "failed", "completed"]


def test_of_two_ends_of_a_run_in_one_go_the_first_counts() -> None:
    record, other = begun(2)
    end = completed(record)
    later = replace(end, finished_at=clock.now() + timedelta(seconds=1), output_tokens=9)
    assert close_runs([end, later, completed(other), end], connection) == [True, False, True, True]
    assert stored(record) == as_row(end)
    assert [note.kind for note in Run.objects.get(pk=record.id).notes.all()] == [NoteKind.SECOND_END]


@pytest.mark.parametrize("fields", [{}, ODD], ids=["plain", "odd"])
def test_what_is_written_without_a_look_is_what_its_seal_says(fields: dict[str, Any]) -> None:
    writer = Writer()
    records = [make_record(**fields) for _ in range(3)]
    writer.commit(*map(InsertRun, records))
    with writer.chain.transaction(connection):
        ends = [CloseRun(completed(record, error_message="ö" * 900)) for record in records]
        assert CloseRun.apply_all(ends, connection) == [True] * 3
    assert verified().findings.counts == {}


@pytest.mark.parametrize(
    "changes",
    [{"agent": "other"}, {"parent_run": make_record().id}, {"parameters": {"user": "bob"}}, {"streaming": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_row_that_others_have_changed_while_it_was_open_is_sealed_as_it_is(changes: dict[str, Any]) -> None:
    writer = Writer()
    record = make_record()
    writer.commit(InsertRun(record))
    Run.objects.filter(pk=record.id).update(**changes)
    assert writer.commit(CloseRun(completed(record))) == [True]
    assert stored(record).items() >= changes.items()
    assert verified().findings.counts == {}


@pytest.mark.parametrize("odd", [{1}, timedelta(seconds=3), True, 5, b"ab", ["a"], {"a": 1}])
def test_what_is_no_text_is_recorded_as_one_and_sealed_so(odd: Any) -> None:
    writer = Writer()
    record = make_record()
    writer.commit(InsertRun(record))
    assert writer.commit(CloseRun(completed(record, finish_reason=odd))) == [True]
    assert Run.objects.get(pk=record.id).finish_reason == str(odd)
    assert verified().findings.counts == {}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL may choose another way")
@pytest.mark.parametrize("is_analyzed", [False, True])
def test_an_end_finds_its_row_by_its_id_not_among_all_that_are_open(*, is_analyzed: bool) -> None:
    close_runs([completed(record) for record in begun(3000)], connection)
    with connection.cursor() as cursor:
        if is_analyzed:
            cursor.execute("ANALYZE gateway_run")
        cursor.execute("LOAD 'auto_explain'")
        cursor.execute("SET LOCAL auto_explain.log_min_duration = 0")
        cursor.execute("SET LOCAL client_min_messages = log")
        said: list[str] = []
        connection.connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
        close_runs([completed(record) for record in begun()], connection)
    (plan,) = [each for each in said if "Update on gateway_run" in each]
    assert " gateway_run_pkey " in plan
    assert "gateway_run_open" not in plan
