"""The canonical form is the same for ever: on every database, on every Python."""

import json
import uuid
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.runs.journal import InsertRun, Note
from gateway_project.runs.models import Seal
from gateway_project.runs.record import COLUMNS, NOTE_COLUMNS, NoteRecord
from gateway_project.runs.seals import canonical
from gateway_project.runs.seals.batch import LAYOUTS, unpack
from gateway_project.runs.seals.canonical import NOTE, RUN, Layout
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record
from tests.runs.seals.conftest import PERSON, Writer

RUN_ID = uuid.UUID("0192f0c0-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)

ROW: dict[str, Any] = {
    "id": RUN_ID,
    "seal": None,
    "salts": bytes(range(1, 33)),
    "commitments": None,
    **{name: "" for name in COLUMNS if name != "id"},
    **dict.fromkeys(("parent_run", "started_at", "first_output_at", "abort_requested_at", "settled_at", "finished_at")),
    **dict.fromkeys(("delivered", "http_status", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")),
    **PERSON,
    "status": "completed",
    "endpoint": "responses",
    "streaming": True,
    "background": False,
    "received_at": AT,
    "events_sent": 1,
    "bytes_sent": 2**40,
    "tokens_sent": 0,
    "parameters": json.dumps(PERSON["parameters"]),
    "error_message": "ä\u2028😀",
}


TEXTS = st.text() | st.text(st.characters(max_codepoint=127)) | st.text(st.characters(categories=["Cs"]))
"""Any, ASCII with all that must be escaped, and what UTF-8 cannot say."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


def test_a_digest_never_changes() -> None:
    """Made by hand, once. Whatever breaks this breaks every seal that was ever made: add a version instead."""
    assert RUN.digest(ROW).hex() == "59e35169fe908420585e3e01439b36119a821e3fdd4f8c2bc5996938d9900137"
    row = {"run_id": RUN_ID, "at": AT, "kind": "tool", "by": "", "text": "x", "salts": bytes(range(1, 17))}
    assert (
        NOTE.digest(row | {"commitments": None}).hex()
        == "006efd8330bead3df1732a67f38b09cb776a9f52b2dcba9b96e9bad66510fdbb"
    )


def test_every_column_of_a_record_is_sealed() -> None:
    assert set(RUN.columns) == {*COLUMNS, "seal", "salts", "commitments"}
    assert set(NOTE.columns) == {*NOTE_COLUMNS, "seal", "salts", "commitments"}


@pytest.mark.parametrize(
    "same",
    [
        {"id": RUN_ID.hex, "streaming": 1, "background": 0, "received_at": "2026-11-24 12:00:00.000001"},
        {"received_at": AT.replace(tzinfo=None)},
        {"received_at": AT.astimezone(timezone(timedelta(hours=-7)))},
        {"parameters": '{"temperature": 0.50, "user": "nina@example.org"}'},
        {"parameters": '{ "user":"nina\\u0040example.org",\n"temperature":5e-1}'},
    ],
    ids=["sqlite", "naive", "zone", "order", "spelling"],
)
def test_spelling_does_not_matter(same: dict[str, Any]) -> None:
    assert RUN.digest(ROW | same) == RUN.digest(ROW)


@pytest.mark.parametrize("character", range(256))
def test_each_character_is_written_as_pythons_library_does(character: int) -> None:
    assert canonical._written([chr(character)]) == json.dumps([chr(character)]).encode()


@given(VALUES)
def test_it_is_written_as_pythons_library_does(value: Any) -> None:
    assert canonical._written([value]) == json.dumps([value], separators=(",", ":")).encode()


def test_parameters_are_sorted_all_the_way_down() -> None:
    one, other = ('{"a": {"x": 1, "ä": [{"y": 2, "b": 3}]}}', '{"a": {"ä": [{"b": 3, "y": 2}], "x": 1}}')
    assert RUN.digest(ROW | {"parameters": one}) == RUN.digest(ROW | {"parameters": other})


@pytest.mark.parametrize(("one", "other"), [("1e400", "10" + "0" * 399), ("-0.0", "0"), ("1.50", "15e-1")])
def test_numbers_are_the_same_however_a_database_writes_them(one: str, other: str) -> None:
    digests = {RUN.digest(ROW | {"parameters": f'{{"n": {number}}}'}) for number in (one, other)}
    assert len(digests) == 1


@pytest.mark.parametrize("other", ["1.0000000000000000001", '"1"', "[1]", "null", "true", '{"n": "1e0"}', "10", "-1"])
def test_other_values_are_other_digests(other: str) -> None:
    assert RUN.digest(ROW | {"parameters": f'{{"n": {other}}}'}) != RUN.digest(ROW | {"parameters": '{"n": 1}'})


def test_texts_do_not_run_into_each_other() -> None:
    one, other = {"agent": "a", "model": "bc"}, {"agent": "ab", "model": "c"}
    assert RUN.digest(ROW | one) != RUN.digest(ROW | other)
    assert RUN.digest(ROW | {"http_status": None}) != RUN.digest(ROW | {"http_status": 0})


def test_personal_fields_cannot_be_found_by_trying() -> None:
    """The same person twice gives commitments that nothing connects, and without its salt none can be made again."""
    [identity, _] = RUN.commitments(ROW)
    [again, _] = RUN.commitments(ROW | {"salts": bytes(range(2, 34))})
    assert identity != again
    erased = ROW | RUN.erase(ROW, ["identity"])
    assert erased["salts"] == bytes(16) + ROW["salts"][16:]
    assert list(RUN.commitments(erased)) == list(RUN.commitments(ROW))
    assert RUN.digest(erased) == RUN.digest(ROW)
    assert (RUN.erased(erased), RUN.leftovers(erased)) == (["identity"], [])
    assert RUN.leftovers(erased | {"user_agent": "curl"}) == ["user_agent"]


def test_groups_are_erased_one_by_one() -> None:
    row = ROW | {"abort_requested_by": "nina", "abort_reason": "late"}
    once = row | RUN.erase(row, ["asker"])
    assert (once["abort_requested_by"], once["principal_label"]) == ("", "nina")
    twice = once | RUN.erase(once, ["identity"])
    assert RUN.digest(row) == RUN.digest(once) == RUN.digest(twice)
    assert RUN.erased(twice) == ["identity", "asker"]


@pytest.mark.django_db
def test_what_is_sealed_is_what_the_database_holds() -> None:
    """Texts that were cut, characters that it refuses, numbers that it writes in its own way."""
    writer = Writer()
    record = make_record(
        status=RunStatus.REJECTED,
        user_agent="x" * 1000,
        requested_model="a\x00b\ud800",
        parameters={"big": 10**30, "small": 1e-7, "huge": 1e300, "integral": 5.0, "user": "\x00"},
    )
    writer.commit(InsertRun(record), Note(NoteRecord(run_id=record.id, at=AT, kind="tool", text="y" * 1000)))
    [seal] = Seal.objects.all()
    for entry in unpack(bytes(seal.entries)):
        layout: Layout = LAYOUTS[entry.kind]
        columns = ", ".join(f'"{column}"' for column in layout.columns)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {layout.model._meta.db_table}")
            row = dict(zip(layout.columns, cursor.fetchone(), strict=True))
        assert layout.digest(row) == entry.digest


def test_a_version_is_named_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RUN.digest(ROW)
    monkeypatch.setattr(canonical, "VERSION", 2)
    assert RUN.digest(ROW) != before


def test_the_groups_are_of_the_record() -> None:
    names = {field.name for field in fields(NoteRecord)}
    assert {name for group in NOTE.groups.values() for name in group} <= names
