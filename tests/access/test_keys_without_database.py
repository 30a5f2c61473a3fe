"""The database of the keys is away: requests are told at once, and known keys serve on where that is configured."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from pytest_django import Settings

from gateway_project import clock
from gateway_project.access import lookup
from gateway_project.access.authentication import APIKeyAuthentication
from gateway_project.access.models import APIKey
from gateway_project.access.principal import Principal
from tests.access.conftest import MoveOn, bearer, change, make_key

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("move_on")]


class Database:
    """Stands before the real one. `away` is what it does instead of answering."""

    def __init__(self, query: Callable[[Collection[str]], dict[str, APIKey]]) -> None:
        self._query = query
        self.away: Callable[[], object] | None = None
        self.asked = 0

    def query(self, prefixes: Collection[str]) -> dict[str, APIKey]:
        self.asked += 1
        if self.away is not None:
            self.away()
        return self._query(prefixes)


def refuse(error: type[Exception]) -> None:
    raise error("no connection")


GONE = partial(refuse, OperationalError)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database(lookup._query)
    monkeypatch.setattr(lookup, "_query", made.query)
    return made


@pytest.fixture
def hanging(database: Database) -> Iterator[threading.Event]:
    """The database takes questions and does not answer until this is set."""
    answering = threading.Event()
    database.away = partial(answering.wait, 60)
    yield answering
    answering.set()


@pytest.fixture
def configured(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Further settings, from `gateway`. Stands before `adapter`, which reads them."""
    settings.GATEWAY = {**settings.GATEWAY, **getattr(request, "param", {})}


def gateway(**settings: Any) -> pytest.MarkDecorator:
    """With these further settings."""
    return pytest.mark.parametrize("configured", [settings], indirect=True)


@gateway(ACCEPT_WITHOUT_DATABASE=True, KEYS_WITHOUT_DATABASE_SECONDS=120)
async def test_a_known_key_serves_on_for_its_time_and_no_other_does(
    configured: None, adapter: APIKeyAuthentication, database: Database, move_on: MoveOn
) -> None:
    key, text = await make_key()
    (_, unseen), wrong = await make_key(), f"gw-{key.prefix}-guess"
    principal = await adapter.authenticate(bearer(text))
    database.away = GONE
    move_on(119)
    assert await adapter.authenticate(bearer(text)) == principal
    for other in (unseen, wrong):
        with pytest.raises(OperationalError):
            await adapter.authenticate(bearer(other))
    move_on(1)
    with pytest.raises(OperationalError):
        await adapter.authenticate(bearer(text))
    database.away = None
    move_on(1)
    assert await adapter.authenticate(bearer(text)) == principal


@gateway(ACCEPT_WITHOUT_DATABASE=True)
async def test_when_the_database_is_back_a_key_revoked_meanwhile_ends(
    configured: None, adapter: APIKeyAuthentication, database: Database, move_on: MoveOn
) -> None:
    key, text = await make_key()
    await adapter.authenticate(bearer(text))
    database.away = GONE
    move_on(1)
    assert await adapter.authenticate(bearer(text)) is not None
    await change(key, revoked_at=clock.now())
    database.away = None
    move_on(1)
    assert await adapter.authenticate(bearer(text)) is None
    database.away = GONE
    move_on(1)
    with pytest.raises(OperationalError):
        await adapter.authenticate(bearer(text))


@pytest.mark.parametrize(
    "configured",
    [
        {},
        {"KEYS_WITHOUT_DATABASE_SECONDS": 120},
        {"ACCEPT_WITHOUT_DATABASE": True, "KEYS_WITHOUT_DATABASE_SECONDS": 0},
    ],
    indirect=True,
    ids=["by default", "nothing is accepted", "no time"],
)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
async def test_else_it_serves_its_second_and_no_longer(
    configured: None,
    adapter: APIKeyAuthentication,
    database: Database,
    move_on: MoveOn,
    error: type[Exception],
) -> None:
    _, text = await make_key()
    await adapter.authenticate(bearer(text))
    database.away = partial(refuse, error)
    move_on(0.5)
    assert await adapter.authenticate(bearer(text)) is not None
    move_on(0.5)
    with pytest.raises(OperationalError):
        await adapter.authenticate(bearer(text))


async def test_while_it_is_known_to_be_away_one_request_at_a_time_tries_it(
    adapter: APIKeyAuthentication, database: Database, move_on: MoveOn
) -> None:
    keys = [(await make_key())[1] for _ in range(3)]
    database.away = GONE
    results = await ask_all(adapter, keys)
    assert [type(result) for result in results] == [OperationalError] * 3
    tried = database.asked
    await ask_all(adapter, keys)
    assert database.asked == tried
    move_on(0.1)
    await ask_all(adapter, keys)
    assert database.asked == tried + 1
    database.away = None
    move_on(0.1)
    results = await ask_all(adapter, keys)
    assert isinstance(results[0], Principal), "who tries it gets the answer"
    assert None not in await ask_all(adapter, keys)


@gateway(JOURNAL_SECONDS=2, ACCEPT_WITHOUT_DATABASE=True)
async def test_a_database_that_hangs_holds_nobody_for_longer_than_the_setting_says(
    configured: None,
    adapter: APIKeyAuthentication,
    database: Database,
    move_on: MoveOn,
    request: pytest.FixtureRequest,
) -> None:
    (_, seen), (_, new) = await make_key(), await make_key()
    await adapter.authenticate(bearer(seen))
    hanging: threading.Event = request.getfixturevalue("hanging")
    move_on(1)
    async with asyncio.timeout(30):
        served, refused = await ask_all(adapter, [seen, new])
    assert isinstance(served, Principal)
    assert isinstance(refused, OperationalError)
    tried = database.asked
    move_on(1)
    answers = await asyncio.gather(*(without_waiting(adapter, text) for text in (seen, new)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Principal, OperationalError]
    assert database.asked == tried, "a second question would hang behind the first"
    database.away = None
    hanging.set()
    await back(adapter)
    assert await adapter.authenticate(bearer(new)) is not None


async def test_nobody_takes_the_answer_to_a_question_older_than_a_second(
    adapter: APIKeyAuthentication, database: Database, move_on: MoveOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, text = await make_key()
    answered, release = threading.Event(), threading.Event()
    query = database.query

    def answer_late(prefixes: Collection[str]) -> dict[str, APIKey]:
        found = query(prefixes)
        answered.set()
        release.wait(60)
        return found

    monkeypatch.setattr(lookup, "_query", answer_late)
    early = asyncio.ensure_future(adapter.authenticate(bearer(text)))
    await asyncio.to_thread(answered.wait, 60)
    await change(key, revoked_at=clock.now())
    in_time = asyncio.ensure_future(adapter.authenticate(bearer(text)))
    await asyncio.sleep(0)
    move_on(1)
    late = asyncio.ensure_future(adapter.authenticate(bearer(text)))
    await asyncio.sleep(0)
    release.set()
    assert await early is not None
    assert await in_time is not None
    assert await late is None


async def test_an_answer_ages_from_the_moment_of_its_question(
    adapter: APIKeyAuthentication, database: Database, move_on: MoveOn
) -> None:
    _, text = await make_key()
    database.away = partial(move_on, 0.9)  # it answers, but late
    await adapter.authenticate(bearer(text))
    move_on(0.1)
    await adapter.authenticate(bearer(text))
    assert database.asked == 2


async def test_a_connection_that_broke_while_it_was_idle_is_made_anew(
    adapter: APIKeyAuthentication, database: Database, move_on: MoveOn
) -> None:
    _, text = await make_key()
    await adapter.authenticate(bearer(text))
    broken = iter([OperationalError])

    def break_once() -> None:
        for error in broken:
            raise error("server closed the connection unexpectedly")

    database.away = break_once
    move_on(1)
    assert await adapter.authenticate(bearer(text)) is not None
    assert database.asked == 3


async def test_an_error_that_is_no_outage_is_told_to_who_asked(
    adapter: APIKeyAuthentication, database: Database
) -> None:
    _, text = await make_key()
    database.away = partial(refuse, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        await adapter.authenticate(bearer(text))
    database.away = None
    assert await adapter.authenticate(bearer(text)) is not None


async def ask_all(adapter: APIKeyAuthentication, keys: list[str]) -> list[object]:
    """Ask for all at the same time."""
    asking = (adapter.authenticate(bearer(text)) for text in keys)
    return list(await asyncio.gather(*asking, return_exceptions=True))


async def back(adapter: APIKeyAuthentication) -> None:
    """Wait until the question that hung has its answer."""
    async with asyncio.timeout(30):
        while adapter._lookup._busy:
            await asyncio.to_thread(time.sleep, 0.01)


async def without_waiting(adapter: APIKeyAuthentication, text: str) -> Principal | None:
    """The answer, which must come within the loop's next turns."""
    async with asyncio.timeout(1):
        return await adapter.authenticate(bearer(text))
