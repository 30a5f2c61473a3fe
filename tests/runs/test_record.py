"""Columns and values."""

import uuid
from copy import copy
from datetime import UTC, datetime

import pytest
from django.db import connection

from gateway_project.runs.journal.changes import InsertRun
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.record import ABORT_COLUMNS, COLUMNS, END_COLUMNS, NOTE_COLUMNS, START_COLUMNS, values
from tests.runs.records import make_record


def test_the_record_has_the_columns_of_the_model() -> None:
    of_the_seal = {"seal", "salts", "commitments"}
    assert set(COLUMNS) | of_the_seal == {field.column for field in Run._meta.concrete_fields}
    assert set(NOTE_COLUMNS) | of_the_seal == {field.column for field in RunNote._meta.concrete_fields}


def test_what_changes_later_are_columns_too() -> None:
    assert {*START_COLUMNS, *ABORT_COLUMNS, *END_COLUMNS} <= set(COLUMNS)


def test_a_copy_is_equal_and_goes_its_own_way() -> None:
    record = make_record(parameters={"user": "nina"}, delivered=True)
    other = copy(record)
    assert other == record
    record.status = "completed"
    assert other != record


@pytest.mark.django_db
def test_a_row_comes_back_as_it_was_written() -> None:
    at = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
    record = make_record(received_at=at, delivered=True, parameters={"user": "ä\u2028", "n": [1, None]}, input_tokens=0)
    InsertRun(record).apply(connection)
    run = Run.objects.get(pk=record.id)
    assert {name: getattr(run, name) for name in COLUMNS} == {name: getattr(record, name) for name in COLUMNS}
    assert isinstance(run.id, uuid.UUID)


@pytest.mark.django_db
def test_what_a_database_refuses_does_not_cost_the_record() -> None:
    record = make_record(
        user_agent="x" * 1000, requested_model="a\x00b\ud800c", parameters={"user\x00": ["\ud800", {"k": "\x00"}]}
    )
    InsertRun(record).apply(connection)
    run = Run.objects.get(pk=record.id)
    assert run.user_agent == "x" * 200
    assert run.requested_model == "a\ufffdb?c"
    assert run.parameters == {"user\ufffd": ["?", {"k": "\ufffd"}]}


@pytest.mark.django_db
def test_times_keep_their_microseconds_even_when_they_are_none() -> None:
    record = make_record(received_at=datetime(2026, 1, 1, tzinfo=UTC))
    InsertRun(record).apply(connection)
    assert values(record, ("finished_at",), connection) == [None]
    assert Run.objects.get(pk=record.id).received_at == record.received_at
