"""Who sends this ASGI request? Over a real database, from an event loop."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from pytest_django import Settings

from gateway_project import clock
from gateway_project.access.authentication import APIKeyAuthentication, authenticate, bearer_token
from gateway_project.access.models import APIKey
from gateway_project.access.principal import Principal
from tests.access.conftest import bearer, change, make_key, scope


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


async def last_use(key: APIKey) -> Any:
    """When it was used last."""
    await database_sync_to_async(key.refresh_from_db)()
    return key.last_used_at


@pytest.mark.django_db(transaction=True)
class TestAPIKey:
    """`APIKeyAuthentication`."""

    async def test_a_key_becomes_a_principal_that_may_use_all_agents_or_some(
        self, adapter: APIKeyAuthentication
    ) -> None:
        key, text = await make_key()
        assert await adapter.authenticate(bearer(text)) == Principal("api_key", str(key.pk), "shop")
        some, text = await make_key(agents=["scripted"])
        assert await adapter.authenticate(bearer(text)) == Principal(
            "api_key", str(some.pk), "shop", frozenset({"scripted"})
        )

    async def test_no_key_an_unknown_an_expired_and_a_revoked_one_are_nobody(
        self, adapter: APIKeyAuthentication
    ) -> None:
        now = clock.now()
        _, expired = await make_key(expires_at=now - timedelta(seconds=1))
        _, revoked = await make_key(revoked_at=now)
        for asked in (scope(), bearer("gw-000000000000-x"), bearer(expired), bearer(revoked), bearer("ü")):
            assert await adapter.authenticate(asked) is None

    async def test_its_use_is_noted_once_a_minute_at_most(self, adapter: APIKeyAuthentication) -> None:
        key, text = await make_key()
        assert await self.use(APIKeyAuthentication(), key, text + "x") is None, "a wrong secret is no use"
        first = await self.use(adapter, key, text)
        assert clock.now() - first < timedelta(seconds=30)
        assert await self.use(APIKeyAuthentication(), key, text) == first
        await database_sync_to_async(APIKey.objects.touch)({key.pk}, clock.now())
        assert await last_use(key) == first, "another process's note counts too"
        long_ago = first - timedelta(minutes=2)
        await change(key, last_used_at=long_ago)
        assert await self.use(APIKeyAuthentication(), key, text) > long_ago

    async def use(self, adapter: APIKeyAuthentication, key: APIKey, text: str) -> Any:
        await adapter.authenticate(bearer(text))
        adapter.close()
        return await last_use(key)


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
