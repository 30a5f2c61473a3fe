"""The threads that ask the database: their connections stay open, and are made anew where they are lost."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from gateway_project import clock
from gateway_project.access.lookup import IDLE_SECONDS
from gateway_project.transport.errors import DatabaseAway
from responses import reading
from responses.models import StoredResponse
from responses.reading import read

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_THREADS", 1)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Grows with each connection that is opened."""
    found: list[str] = []

    def note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        found.append(connection.alias)

    connection_created.connect(note)
    yield found
    connection_created.disconnect(note)


def count() -> int:
    return StoredResponse.objects.count()


async def test_many_questions_take_one_connection(opened: list[str]) -> None:
    for _ in range(20):
        assert await read(count) == 0
    assert opened == [DEFAULT_DB_ALIAS]


async def test_a_connection_that_is_lost_is_made_anew(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    await read(count)
    failures = [OperationalError("the connection is closed")]
    monkeypatch.setattr(type(connections[DEFAULT_DB_ALIAS]), "is_usable", lambda self: False)

    def count_or_fail() -> int:
        if failures:
            raise failures.pop()
        return count()

    assert await read(count_or_fail) == 0
    assert len(opened) == 2


async def test_no_question_is_asked_over_a_connection_that_lay_idle(
    opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1024.0  # of whose sums none is rounded
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for idle, connections_made in ((0, 1), (IDLE_SECONDS - 1, 1), (IDLE_SECONDS, 2)):
        now += idle
        await read(count)
        assert len(opened) == connections_made


async def test_what_a_good_connection_fails_at_is_not_tried_again(opened: list[str]) -> None:
    await read(count)
    asked: list[None] = []

    def fail() -> None:
        asked.append(None)
        raise OperationalError("the database is locked")

    with pytest.raises(DatabaseAway):
        await read(fail)
    assert len(asked) == 1
    assert await read(count) == 0
    assert len(opened) == 1
