"""A conversation is brought back from its responses: whose they are, in which order, and at what cost."""

import json
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_project import clock, ids
from gateway_project.access.principal import Principal
from responses.models import StoredResponse
from responses.store import turns_back

pytestmark = pytest.mark.django_db

SOMEBODY = Principal("api_key", "1", "nina")
SOMEBODY_ELSE = Principal("api_key", "2", "otto")


def store(previous: uuid.UUID | None, *, whose: Principal = SOMEBODY, expires_in_year: int = 2999) -> uuid.UUID:
    response = StoredResponse.objects.create(
        id=ids.new_run_id(),
        principal_kind=whose.kind,
        principal_id=whose.id,
        previous=previous,
        status="completed",
        created_at=clock.now(),
        expires_at=clock.now().replace(year=expires_in_year),
        input=json.dumps(["asked"]),
        body=json.dumps({"output": []}),
    )
    return response.id


def chain(length: int, previous: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Responses that continue each other, the last one first."""
    turns: list[uuid.UUID] = []
    for _ in range(length):
        previous = store(previous)
        turns.insert(0, previous)
    return turns


@pytest.mark.parametrize("length", [1, 10, 11, 25])
def test_they_come_back_from_the_last_to_the_first(length: int) -> None:
    turns = chain(length)
    chain(3)
    found = list(turns_back(turns[0], SOMEBODY))
    assert [turn.id for turn in found] == turns
    assert {(turn.input, turn.body, turn.status) for turn in found} == {('["asked"]', '{"output": []}', "completed")}


@pytest.mark.parametrize("cut", [{"whose": SOMEBODY_ELSE}, {"expires_in_year": 2001}])
@pytest.mark.parametrize("after", [0, 3, 12])
def test_what_one_may_not_ask_for_ends_them(cut: dict[str, object], after: int) -> None:
    beyond = store(store(None), **cut)  # type: ignore[arg-type]
    turns = chain(after, beyond)
    assert [turn.id for turn in turns_back((*turns, beyond)[0], SOMEBODY)] == turns


def test_one_that_is_deleted_ends_them() -> None:
    turns = chain(5)
    StoredResponse.objects.filter(pk=turns[2]).delete()
    assert [turn.id for turn in turns_back(turns[0], SOMEBODY)] == turns[:2]


def test_a_long_conversation_takes_few_questions() -> None:
    turns = chain(100)
    with CaptureQueriesContext(connection) as asked:
        assert len(list(turns_back(turns[0], SOMEBODY))) == 100
    assert len(asked) <= 11
