"""How a caller is authenticated. ``GATEWAY["AUTHENTICATION"]`` lists the adapters, asked in order."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.core.signals import setting_changed
from django.db import DatabaseError
from django.dispatch import receiver

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.access.principal import Principal
from gateway_project.conf import gateway_settings, import_dotted

_TOUCH_EVERY = timedelta(minutes=1)


class Authentication(Protocol):
    """The contract of an adapter."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        """Who sends this ASGI request? None when this adapter cannot tell; the next one is asked."""


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """A request header's value, decoded as Latin-1 (RFC 9110, section 5.5), or None."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def bearer_token(scope: Mapping[str, Any]) -> str | None:
    """The token of ``Authorization: Bearer …`` (RFC 6750, section 2.1), or None."""
    scheme, _, token = (header(scope, b"authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class APIKeyAuthentication:
    """Our own keys, as bearer tokens."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        """The key's principal, or None for no key, an unknown, expired or revoked one."""
        token = bearer_token(scope)
        key = await database_sync_to_async(self._find)(token) if token else None
        if key is None:
            return None
        agents = frozenset(key.agents) if key.agents else None
        return Principal(kind="api_key", id=str(key.pk), label=key.name, agents=agents)

    def _find(self, token: str) -> APIKey | None:
        """Find the key, and note its use once a minute at most, waiting for no lock."""
        key: APIKey | None = APIKey.objects.find(token)
        now = clock.now()
        if key is not None and (key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY):
            with suppress(DatabaseError):  # Not being able to note it is no reason to refuse the caller.
                APIKey.objects.touch(key, now)
        return key


@cache
def _adapters() -> tuple[Authentication, ...]:
    paths = gateway_settings().AUTHENTICATION
    return tuple(import_dotted(path, "GATEWAY['AUTHENTICATION']")() for path in paths)


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "GATEWAY":
        _adapters.cache_clear()


async def authenticate(scope: Mapping[str, Any]) -> Principal | None:
    """Ask each adapter in order; the first that knows the caller answers."""
    for adapter in _adapters():
        principal = await adapter.authenticate(scope)
        if principal is not None:
            return principal
    return None
