"""Content is sealed: a change behind the application's back is found, and purging and erasing leave all clean.

`test_postgresql.py` runs this file on PostgreSQL as well.
"""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from gateway_project import clock
from gateway_project.runs.content.record import CONTENT_COLUMNS, ContentRecord, KeepContent
from gateway_project.runs.content.removal import EraseContent, PurgeContent
from gateway_project.runs.models import Run, RunContent, Seal
from gateway_project.runs.seals.batch import EntryKind
from gateway_project.runs.seals.canonical import CONTENT
from gateway_project.runs.seals.check import RunState, check_row
from gateway_project.runs.seals.removal import PurgeRuns
from gateway_project.runs.seals.triggers import maintenance
from tests.runs.seals.conftest import Execute, Sealed, first_break, verify

pytestmark = pytest.mark.django_db

_CHANGES = {
    "run_id": "id",
    "at": "'2001-01-01 00:00:00'",
    "mode": "'digest'",
    "remarks": "'cut'",
    "request": "'{}'",
    "request_digest": "'other'",
    "request_characters": "request_characters + 1",
    "answer": "'[]'",
    "answer_digest": "''",
    "answer_characters": "0",
    "delivered_characters": "delivered_characters - 1",
    "seal": "id",
    "salts": "NULL",
}


def content(run: uuid.UUID, **fields: Any) -> ContentRecord:
    whole: dict[str, Any] = {
        "mode": "full",
        "request": '{"messages":["hello ä😀"]}',
        "request_digest": "sha256:00:11",
        "request_characters": 8,
        "answer": '[{"text":"well"}]',
        "answer_digest": "sha256:00:22",
        "answer_characters": 4,
        "delivered_characters": 4,
    }
    return ContentRecord(run_id=run, at=clock.now(), **whole | fields)


@pytest.fixture
def kept(sealed: Sealed) -> Sealed:
    """Each run with its content."""
    for writer, runs in ((sealed.first, sealed.runs[:3]), (sealed.second, sealed.runs[3:])):
        for run in runs:
            writer.commit(KeepContent(content(run, request_characters=len(str(run)))))
    return sealed


def id_of(run: uuid.UUID) -> uuid.UUID:
    return RunContent.objects.get(run=run).pk


def test_content_that_nobody_has_touched_is_clean(kept: Sealed) -> None:
    assert verify() == {}
    state, seal = check_row(EntryKind.CONTENT, id_of(kept.runs[0]), connection)
    assert (state, isinstance(seal, Seal)) == (RunState.AS_SEALED, True)


def test_each_sealed_column_is_tried_below() -> None:
    columns = {field.column for field in RunContent._meta.concrete_fields}
    assert {*_CHANGES, "id", "commitments"} == columns == set(CONTENT.columns)
    assert set(CONTENT_COLUMNS) == columns - {"seal", "salts", "commitments"}


@pytest.mark.parametrize("column", _CHANGES)
def test_a_changed_field(kept: Sealed, attack: Execute, column: str) -> None:
    id_ = id_of(kept.runs[1])
    attack(f"UPDATE gateway_run_content SET {column} = {_CHANGES[column]} WHERE id = %s", id_)
    assert first_break() == f"changed row: content {id_} is not what was sealed"
    assert check_row(EntryKind.CONTENT, id_, connection).state is not RunState.AS_SEALED


def test_a_deleted_content(kept: Sealed, attack: Execute) -> None:
    id_ = id_of(kept.runs[2])
    attack("DELETE FROM gateway_run_content WHERE id = %s", id_)
    assert first_break().startswith(f"deleted row: content {id_}")


def test_contents_that_were_swapped(kept: Sealed, attack: Execute) -> None:
    """Each has the other's text: found as two changed rows, since salts and times stay."""
    for one, other in (kept.runs[:2], kept.runs[1::-1]):
        text = f"text of {other}"
        attack("UPDATE gateway_run_content SET answer = %s WHERE id = %s", text, id_of(one))
    assert verify() == {"changed row": 2}


def test_content_that_was_slipped_in(kept: Sealed) -> None:
    run = kept.first.run()
    KeepContent(content(run)).apply(connection)
    assert first_break() == f"row that no seal knows: content {id_of(run)}"


def test_content_whose_run_was_deleted(kept: Sealed, attack: Execute) -> None:
    attack("DELETE FROM gateway_run WHERE id = %s", kept.runs[3])
    assert verify() == {"deleted row": 1, "note without its run": 1, "content without its run": 1}


def test_content_erased_without_a_record(kept: Sealed, attack: Execute) -> None:
    row = RunContent.objects.filter(run=kept.runs[0]).values(*CONTENT.columns).get()
    changes = CONTENT.erase(row, ["request"])
    marks = ", ".join(f"{column} = %s" for column in changes)
    attack(f"UPDATE gateway_run_content SET {marks} WHERE id = %s", *changes.values(), row["id"])
    assert first_break() == f"erased without a record: content {row['id']} (request)"


def test_what_is_purged_is_gone_and_all_is_clean(kept: Sealed) -> None:
    assert kept.second.commit(PurgeContent(kept.runs[:2])) == [2]
    assert kept.second.commit(PurgeContent(kept.runs[:2])) == [0]
    assert set(RunContent.objects.values_list("run_id", flat=True)) == set(kept.runs[2:])
    assert Run.objects.count() == 6
    assert verify() == {}


def test_content_of_purged_runs_is_purged_beside_them(kept: Sealed) -> None:
    kept.first.commit(PurgeContent(kept.runs[:1]), PurgeRuns(kept.runs[:1]))
    assert verify() == {}


def test_what_is_erased_leaves_its_skeleton_and_all_is_clean(kept: Sealed) -> None:
    assert kept.first.commit(EraseContent(kept.runs[1:3])) == [2]
    assert kept.first.commit(EraseContent(kept.runs[1:3])) == [0]
    for row in RunContent.objects.filter(run__in=kept.runs[1:3]):
        assert (row.request, row.request_digest, row.answer, row.answer_digest) == ("", "", "", "")
        assert not bytes(row.salts or b"x").strip(b"\x00")
        assert (row.mode, row.answer_characters) == ("full", 4)
    assert verify() == {}


def test_what_is_put_where_something_was_erased(kept: Sealed, attack: Execute) -> None:
    kept.first.commit(EraseContent(kept.runs[:1]))
    attack("UPDATE gateway_run_content SET answer = 'other' WHERE id = %s", id_of(kept.runs[0]))
    assert verify() == {"changed row": 1}


@pytest.mark.parametrize("sql", ["UPDATE gateway_run_content SET answer = ''", "DELETE FROM gateway_run_content"])
def test_content_is_append_only(kept: Sealed, sql: str) -> None:
    def execute() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)

    with pytest.raises(IntegrityError, match="gateway: content is"):
        execute()
    assert verify() == {}
    with maintenance(connection):
        execute()
    assert verify()


def test_the_same_content_twice_is_one(kept: Sealed) -> None:
    run = kept.first.run()
    record = content(run)
    kept.first.commit(KeepContent(record))
    kept.first.commit(KeepContent(replace(record)))
    assert RunContent.objects.filter(run=run).count() == 1
    assert verify() == {}
