"""What tests of keys share: requests, an adapter that lets go of its connections, a clock to move on."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.db import connections

from gateway_project import clock
from gateway_project.access.authentication import APIKeyAuthentication
from gateway_project.access.models import APIKey

MoveOn = Callable[[float], None]


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """An ASGI request with these headers."""
    return {"type": "http", "headers": list(headers)}


def bearer(token: str) -> dict[str, Any]:
    """An ASGI request that shows a key."""
    return scope((b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode()))


async def make_key(**fields: Any) -> tuple[APIKey, str]:
    """A key, with other values for some fields."""

    def make() -> tuple[APIKey, str]:
        made, text = APIKey.objects.create_key("shop", agents=fields.pop("agents", None))
        if fields:
            APIKey.objects.filter(pk=made.pk).update(**fields)
        return made, text

    key: tuple[APIKey, str] = await database_sync_to_async(make)()
    return key


async def change(key: APIKey, **fields: Any) -> None:
    """Change a key as another process would."""
    await database_sync_to_async(APIKey.objects.filter(pk=key.pk).update)(**fields)


@pytest.fixture
async def adapter() -> AsyncIterator[APIKeyAuthentication]:
    """The adapter, and no thread that keeps its connection: the test database could not be dropped."""
    made = APIKeyAuthentication()
    yield made
    made.close()
    await database_sync_to_async(connections.close_all)()


@pytest.fixture
def move_on(monkeypatch: pytest.MonkeyPatch) -> MoveOn:
    """Moves the monotonic clock on, by so many seconds. By itself it stands still, however long a test takes."""
    now = 1024.0  # With any other beginning, tenths of a second might add up to a little less.

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(clock, "monotonic", lambda: now)
    return move
