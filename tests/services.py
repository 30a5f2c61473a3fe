"""Which services are there. A missing one is said loudly; in CI (``GATEWAY_REQUIRE``) it is a failure."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

CLIENTS_PYTHON = Path(__file__).resolve().parent.parent / ".venv-clients" / "bin" / "python"
"""In the virtualenv of the clients that are tested (``make clients``)."""
NODE_MODULES = Path(__file__).resolve().parent / "e2e" / "clients" / "js" / "node_modules"
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


def postgres_program(name: str) -> str:
    """The path of one of PostgreSQL's server programs, which Debian keeps off the path. Empty when there is none."""
    newest = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)
    return next(filter(None, [shutil.which(name), *newest]), "")


def _postgres_server() -> str | None:
    """To start a cluster of a test's own."""
    absent = [name for name in ("initdb", "postgres") if not postgres_program(name)]
    return f"PostgreSQL's {', '.join(absent)} are not installed" if absent else None


def _netns() -> str | None:
    """Root alone does not tell: in a container without the capability the kernel refuses."""
    if not shutil.which("ip"):
        return "iproute2 is not installed"
    name = f"gwprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return None


def _clients() -> str | None:
    installed = CLIENTS_PYTHON.parent.parent / ".installed"
    return None if installed.exists() else "the Python clients are not installed: make clients"


def _node() -> str | None:
    if not shutil.which("node"):
        return "node is not installed"
    return None if (NODE_MODULES / ".installed").exists() else "the JavaScript clients are not installed: make clients"


_PROBES: dict[str, Callable[[], str | None]] = {
    "postgres": _postgres,
    "postgres-server": _postgres_server,
    "redis": _redis,
    "redis-server": _program("redis-server"),
    "chromium": _program("chromium"),
    "nginx": _program("nginx"),
    "netns": _netns,
    "clients": _clients,
    "node": _node,
}
