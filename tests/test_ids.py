"""Ids sort by time and are read in all their spellings."""

import uuid

import pytest

from gateway_project import clock, ids


def test_a_run_id_is_a_uuid_of_version_7_made_now() -> None:
    before = clock.unix_ms()
    made = ids.new_run_id()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= clock.unix_ms()
    assert ids.new_run_id() != made


@pytest.mark.parametrize("spell", [str, lambda i: i.hex, ids.chat_completion_id, ids.response_id, lambda i: f" {i} "])
def test_every_spelling_of_a_run_id_is_read(spell: object) -> None:
    made = ids.new_run_id()
    assert callable(spell)
    assert ids.parse_run_id(spell(made)) == made


@pytest.mark.parametrize("text", ["", "resp_", "chatcmpl-xyz", "alice", "1234"])
def test_what_is_no_run_id_is_none(text: str) -> None:
    assert ids.parse_run_id(text) is None
