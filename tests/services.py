"""Which services are there. A missing one is said loudly; in CI (``GATEWAY_REQUIRE``) it is a failure."""

import os
import shutil
import socket
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

POSTGRES_URL = os.environ.get("GATEWAY_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")


def required() -> frozenset[str]:
    """The services that must be there."""
    return frozenset(filter(None, os.environ.get("GATEWAY_REQUIRE", "").split(",")))


@cache
def missing(service: str) -> str | None:
    """Why `service` cannot be used, or None when it can."""
    return _PROBES[service]()


def _postgres() -> str | None:
    try:
        import psycopg
    except ImportError:
        return "psycopg is not installed"
    try:
        psycopg.connect(POSTGRES_URL, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return f"no PostgreSQL at {urlsplit(POSTGRES_URL).hostname}: {str(error).splitlines()[0]}"
    return None


def _redis() -> str | None:
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=2).close()
    except OSError as error:
        return f"no Redis at 127.0.0.1:6379: {error}"
    return None


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _netns() -> str | None:
    if not shutil.which("ip"):
        return "iproute2 is not installed"
    return None if os.geteuid() == 0 else "network namespaces need root"


_PROBES: dict[str, Callable[[], str | None]] = {
    "postgres": _postgres,
    "redis": _redis,
    "chromium": _program("chromium"),
    "nginx": _program("nginx"),
    "netns": _netns,
}
