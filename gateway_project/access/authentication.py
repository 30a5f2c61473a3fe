"""How a caller is authenticated. ``GATEWAY["AUTHENTICATION"]`` lists the adapters, asked in order."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.dispatch import receiver

from gateway_project import clock
from gateway_project.access.lookup import FRESH_SECONDS, UNREACHABLE, KeyLookup
from gateway_project.access.models import hash_secret, key_prefix
from gateway_project.access.principal import Principal
from gateway_project.access.usage import UseNotes
from gateway_project.conf import gateway_settings, import_dotted

_MOST_KNOWN = 10_000


class Authentication(Protocol):
    """The contract of an adapter."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        """Who sends this ASGI request? None when this adapter cannot tell; the next one is asked.

        Raises:
            OperationalError, InterfaceError: (Django's) when its database is away; the client gets a 503.
        """


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


@dataclass(frozen=True, slots=True)
class _KnownKey:
    """A key that the database knew when it was asked."""

    principal: Principal
    expires_at: datetime | None
    asked_at: float

    def is_younger_than(self, seconds: float) -> bool:
        return clock.monotonic() - self.asked_at < seconds

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= clock.now()


class APIKeyAuthentication:
    """Our own keys, as bearer tokens.

    A key that the database knew is taken for `FRESH_SECONDS` without asking again. Only keys that are right are kept
    (so that wrong ones cannot push them out), by their hash, the least recently used one leaving first. While the
    database is away they go on to serve for as long as the settings say, counted from when it last knew them.
    """

    def __init__(self) -> None:
        settings = gateway_settings()
        self._without_database = settings.KEYS_WITHOUT_DATABASE_SECONDS if settings.ACCEPT_WITHOUT_DATABASE else 0
        self._known: OrderedDict[str, _KnownKey] = OrderedDict()
        self._lookup = KeyLookup(within=settings.JOURNAL_SECONDS)
        self._uses = UseNotes()

    async def authenticate(self, scope: Mapping[str, Any]) -> Principal | None:
        """The key's principal, or None for no key, an unknown, expired or revoked one.

        Raises:
            OperationalError: when the database is away and the key was not seen lately.
        """
        token = bearer_token(scope) or ""
        prefix = key_prefix(token)
        if prefix is None:
            return None
        digest = hash_secret(token)
        known = self._known.get(digest)
        if known is None or not known.is_younger_than(FRESH_SECONDS):
            known = await self._confirm(prefix, digest)
        if known is None or known.has_expired:
            return None
        return known.principal

    def close(self) -> None:
        """End its threads and their connections. Blocking."""
        self._lookup.close()
        self._uses.join()

    async def _confirm(self, prefix: str, digest: str) -> _KnownKey | None:
        try:
            answer = await self._lookup.ask(prefix)
        except UNREACHABLE:
            known = self._known.get(digest)
            if known is None or not known.is_younger_than(self._without_database):
                raise
            return known
        self._known.pop(digest, None)
        key = answer.key
        if key is None or not key.has_hash(digest):
            return None
        if key.use_is_due:
            self._uses.add(key)
        agents = frozenset(key.agents) if key.agents else None
        principal = Principal(kind="api_key", id=str(key.pk), label=key.name, agents=agents, content=key.content)
        known = self._known[digest] = _KnownKey(principal, key.expires_at, answer.asked_at)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known


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
