"""A key that was seen a moment ago costs no thread and no query, and yet its revocation counts within a second."""

import asyncio
from collections.abc import Collection, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from gateway_project import clock
from gateway_project.access import authentication, lookup
from gateway_project.access.authentication import APIKeyAuthentication
from gateway_project.access.models import APIKey, hash_secret
from gateway_project.access.principal import Principal
from gateway_project.transport.consumer import GatewayConsumer
from tests.access.conftest import MoveOn, bearer, change, make_key

Result = TypeVar("Result")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("move_on")]


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Collection[str]]:
    """The questions that reach the database, as they do."""
    asked: list[Collection[str]] = []
    query = lookup._query

    def note(prefixes: Collection[str]) -> dict[str, APIKey]:
        asked.append(prefixes)
        return query(prefixes)

    monkeypatch.setattr(lookup, "_query", note)
    return asked


def at_once(adapter: APIKeyAuthentication, text: str) -> Principal | None:
    """The answer of an adapter that must not wait for anything, be it a thread or the loop."""
    return without_waiting(adapter.authenticate(bearer(text)))


def without_waiting(asking: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never lets go of the loop."""
    try:
        asking.send(None)
    except StopIteration as answer:
        result: Result = answer.value
        return result
    asking.close()
    raise AssertionError("it waits")


async def test_a_known_key_is_answered_without_waiting(
    adapter: APIKeyAuthentication, questions: list[Collection[str]]
) -> None:
    key, text = await make_key()
    with pytest.raises(AssertionError, match="it waits"):
        at_once(adapter, text)
    principal = await adapter.authenticate(bearer(text))
    before = len(questions)
    assert at_once(adapter, text) == principal == Principal("api_key", str(key.pk), "shop")
    assert len(questions) == before


async def test_a_consumer_lets_a_known_key_pass_without_waiting() -> None:
    key, text = await make_key()
    consumer = GatewayConsumer()
    consumer.scope = bearer(text) | {"method": "GET", "client": None}
    try:
        await consumer.check_request()
        consumer.principal = None
        without_waiting(consumer.check_request())
        assert consumer.principal == Principal("api_key", str(key.pk), "shop")
    finally:
        (authenticator,) = authentication._adapters()
        assert isinstance(authenticator, APIKeyAuthentication)
        authenticator.close()


async def test_after_a_second_the_database_is_asked_before_the_key_serves_again(
    adapter: APIKeyAuthentication, questions: list[Collection[str]], move_on: MoveOn
) -> None:
    _, text = await make_key()
    await adapter.authenticate(bearer(text))
    move_on(0.9)
    at_once(adapter, text)
    assert len(questions) == 1
    move_on(0.1)
    with pytest.raises(AssertionError, match="it waits"):
        at_once(adapter, text)
    assert await adapter.authenticate(bearer(text)) is not None
    assert len(questions) == 2
    at_once(adapter, text)


async def test_a_change_made_elsewhere_counts_within_a_second(adapter: APIKeyAuthentication, move_on: MoveOn) -> None:
    key, text = await make_key()
    await adapter.authenticate(bearer(text))
    await change(key, name="other shop", agents=["scripted"])
    move_on(1)
    expected = Principal("api_key", str(key.pk), "other shop", frozenset({"scripted"}))
    assert await adapter.authenticate(bearer(text)) == expected
    await change(key, revoked_at=clock.now())
    move_on(1)
    assert await adapter.authenticate(bearer(text)) is None
    assert await adapter.authenticate(bearer(text)) is None, "and it stays so"


async def test_a_known_key_ends_at_the_very_moment_that_it_expires(
    adapter: APIKeyAuthentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = clock.now() + timedelta(minutes=1)
    _, text = await make_key(expires_at=end)
    await adapter.authenticate(bearer(text))
    monkeypatch.setattr(clock, "now", lambda: end - timedelta(microseconds=1))
    assert at_once(adapter, text) is not None
    monkeypatch.setattr(clock, "now", lambda: end)
    assert at_once(adapter, text) is None


async def test_no_key_is_kept_in_plain(adapter: APIKeyAuthentication) -> None:
    _, text = await make_key()
    await adapter.authenticate(bearer(text))
    held = repr((vars(adapter), vars(adapter._lookup), vars(adapter._uses)))
    assert hash_secret(text) in held
    assert text.split("-", 2)[2] not in held


async def test_wrong_keys_push_no_right_one_out(adapter: APIKeyAuthentication, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_MOST_KNOWN", 2)
    key, text = await make_key()
    await adapter.authenticate(bearer(text))
    for wrong in (f"gw-{key.prefix}-{number}" for number in range(10)):
        assert await adapter.authenticate(bearer(wrong)) is None
    at_once(adapter, text)
    assert list(adapter._known) == [hash_secret(text)]


async def test_of_more_keys_than_are_kept_the_least_recently_asked_one_leaves(
    adapter: APIKeyAuthentication, monkeypatch: pytest.MonkeyPatch, move_on: MoveOn
) -> None:
    monkeypatch.setattr(authentication, "_MOST_KNOWN", 2)
    (_, one), (_, two), (_, three) = [await make_key() for _ in range(3)]
    await adapter.authenticate(bearer(one))
    await adapter.authenticate(bearer(two))
    move_on(1)
    await adapter.authenticate(bearer(one))
    await adapter.authenticate(bearer(three))
    assert list(adapter._known) == [hash_secret(one), hash_secret(three)]


async def test_however_many_ask_one_question_is_under_way_and_one_gathers(
    adapter: APIKeyAuthentication, questions: list[Collection[str]]
) -> None:
    keys = [(await make_key())[1] for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(adapter.authenticate(bearer(text))) for text in keys * 10]
    assert None not in [task.result() for task in asking]
    assert [len(prefixes) for prefixes in questions] == [1, 4]


async def test_a_wrong_secret_gets_no_part_in_a_right_one_s_answer(adapter: APIKeyAuthentication) -> None:
    key, text = await make_key()
    right, wrong = await asyncio.gather(
        adapter.authenticate(bearer(text)), adapter.authenticate(bearer(f"gw-{key.prefix}-guess"))
    )
    assert right is not None
    assert wrong is None


async def test_who_leaves_while_asking_takes_nobody_s_answer_along(adapter: APIKeyAuthentication) -> None:
    _, text = await make_key()
    leaving = asyncio.ensure_future(adapter.authenticate(bearer(text)))
    staying = asyncio.ensure_future(adapter.authenticate(bearer(text)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying is not None
    assert leaving.cancelled()


async def test_no_question_is_asked_over_a_connection_that_lay_idle(
    adapter: APIKeyAuthentication, move_on: MoveOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[str] = []
    drop = lookup._drop

    def note(alias: str) -> None:
        dropped.append(alias)
        drop(alias)

    monkeypatch.setattr(lookup, "_drop", note)
    _, text = await make_key()
    for idle in (0, 2, lookup.IDLE_SECONDS - 1):
        move_on(idle)
        assert await adapter.authenticate(bearer(text))
    assert dropped == []
    move_on(lookup.IDLE_SECONDS)
    assert await adapter.authenticate(bearer(text))
    assert dropped == ["default"]
