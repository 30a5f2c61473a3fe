"""Who sends this ASGI request? Over a real database, from an event loop."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.db import connections
from pytest_django import DjangoAssertNumQueries, Settings

from gateway_project import clock
from gateway_project.access.authentication import APIKeyAuthentication, authenticate, bearer_token
from gateway_project.access.models import APIKey
from gateway_project.access.principal import Principal


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


def bearer(token: str) -> dict[str, Any]:
    return scope((b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode()))


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer abc", "abc"),
        (b"BEARER   abc  ", "abc"),
        (b"Bearer \xfc", "ü"),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Basic abc", None),
        (b"abc", None),
        (b"", None),
    ],
)
def test_the_token_of_a_bearer_header(value: bytes, token: str | None) -> None:
    assert bearer_token(scope((b"authorization", value))) == token
    assert bearer_token(scope()) is None


async def make_key(**fields: Any) -> tuple[APIKey, str]:
    """A key, with other values for some fields."""

    def make() -> tuple[APIKey, str]:
        made, text = APIKey.objects.create_key("shop", agents=fields.pop("agents", None))
        if fields:
            APIKey.objects.filter(pk=made.pk).update(**fields)
        return made, text

    key: tuple[APIKey, str] = await database_sync_to_async(make)()
    return key


async def last_use(key: APIKey) -> Any:
    """When it was used last."""
    await database_sync_to_async(key.refresh_from_db)()
    return key.last_used_at


@pytest.fixture
async def _own_connections() -> AsyncIterator[None]:
    """The thread that `database_sync_to_async` uses keeps its connection: the test database could not be dropped."""
    yield
    await database_sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_own_connections")
class TestAPIKey:
    """`APIKeyAuthentication`."""

    async def test_a_key_becomes_a_principal_that_may_use_all_agents_or_some(self) -> None:
        key, text = await make_key()
        assert await APIKeyAuthentication().authenticate(bearer(text)) == Principal("api_key", str(key.pk), "shop")
        some, text = await make_key(agents=["scripted"])
        assert await APIKeyAuthentication().authenticate(bearer(text)) == Principal(
            "api_key", str(some.pk), "shop", frozenset({"scripted"})
        )

    async def test_no_key_an_unknown_an_expired_and_a_revoked_one_are_nobody(self) -> None:
        now = clock.now()
        _, expired = await make_key(expires_at=now - timedelta(seconds=1))
        _, revoked = await make_key(revoked_at=now)
        for asked in (scope(), bearer("gw-000000000000-x"), bearer(expired), bearer(revoked), bearer("ü")):
            assert await APIKeyAuthentication().authenticate(asked) is None

    async def test_its_use_is_noted_once_a_minute_at_most(self) -> None:
        key, text = await make_key()
        await APIKeyAuthentication().authenticate(bearer(text))
        first = await last_use(key)
        assert clock.now() - first < timedelta(seconds=30)
        await APIKeyAuthentication().authenticate(bearer(text))
        assert await last_use(key) == first
        long_ago = first - timedelta(minutes=2)
        await database_sync_to_async(APIKey.objects.filter(pk=key.pk).update)(last_used_at=long_ago)
        await APIKeyAuthentication().authenticate(bearer(text))
        assert await last_use(key) > long_ago


@pytest.mark.django_db
def test_a_used_key_costs_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, text = APIKey.objects.create_key("shop")
    APIKey.objects.update(last_used_at=clock.now())
    with django_assert_num_queries(1):
        assert APIKeyAuthentication()._find(text) is not None


class Nobody:
    """Knows no one."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        return None


class Somebody:
    """Knows everyone."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        return Principal("test", "1", "somebody")


class Never:
    """Must not be asked."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        raise AssertionError("asked, although another knew the caller")


async def test_the_adapters_are_asked_in_order_until_one_knows_the_caller(settings: Settings) -> None:
    names = [f"{__name__}.{adapter.__name__}" for adapter in (Nobody, Somebody, Never)]
    settings.GATEWAY = {**settings.GATEWAY, "AUTHENTICATION": names}
    assert await authenticate(scope()) == Principal("test", "1", "somebody")
    settings.GATEWAY = {**settings.GATEWAY, "AUTHENTICATION": names[:1]}
    assert await authenticate(scope()) is None
