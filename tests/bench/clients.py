"""Clients of the abort benchmarks, in one loop with the upstream: one clock and one reader of both ends."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Leaving
from tests.upstream import Upstream


def post(path: str, body: Any, *, key: str = "none", headers: Mapping[str, str] | None = None) -> bytes:
    """A request as bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
    )
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"{head}{more}\r\n".encode() + raw


def request(gateway: Gateway, route: Route, model: str, *, stream: bool) -> bytes:
    """A request for agent work as bytes."""
    return post(route.path, route.body(model, stream=stream), key=gateway.key)


def openai_config(upstream: Upstream, **settings: Any) -> dict[str, Any]:
    """A gateway whose one agent is `upstream`, with room for all that comes."""
    return openai_config_at(upstream.base_url, **settings)


def openai_config_at(base_url: str, **settings: Any) -> dict[str, Any]:
    """The same for an upstream that is elsewhere."""
    options = {"base_url": base_url, "api_key": "upstream-secret", "max_connections": 10_000}
    agents = {"openai": {"BACKEND": "gateway_project.agents.openai.OpenAIAgent", "OPTIONS": options}}
    limits = {"CONCURRENT_RUNS": 10_000, "QUEUED_RUNS": 10_000}
    return {"AGENTS": agents, "DEFAULT_AGENT": "openai", "LIMITS": limits, **settings}


class Client(asyncio.Protocol):
    """One connection with one request on it. What comes is counted and thrown away."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, *, until: bytes = b"") -> None:
        self.has_begun = asyncio.Event()
        """Set when `until` was received."""
        self._request = request
        self._until = until
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.has_begun.is_set():
            self._received += data
            if self._until in self._received:
                self.has_begun.set()

    def leave(self, way: Leaving) -> None:
        """Close at once: nothing of ours is unsent."""
        if way == "rst":
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def connect(port: int, request: bytes, *, until: bytes = b"") -> Client:
    """Ask, and say when the beginning of the answer is there."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(request, until=until), "127.0.0.1", port)
    return client


def ended(gateway: Gateway) -> dict[str, int]:
    """How many runs ended how."""
    rows = gateway.store.query(
        "SELECT status, abort_cause, abort_outcome, count(*) AS number FROM gateway_run"
        " GROUP BY status, abort_cause, abort_outcome"
    )
    return {f"{row['status']}/{row['abort_cause']}/{row['abort_outcome']}": row["number"] for row in rows}


STOPPED = "aborted/client_disconnect/stopped"
"""How each of them must end."""


async def all_ended(gateway: Gateway, *, within: float = 300) -> dict[str, int]:
    """Wait until no run is open, and count."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while True:
        found = await asyncio.to_thread(ended, gateway)
        if not any(name.startswith(("queued/", "running/")) for name in found) or loop.time() > until:
            return found
        await asyncio.sleep(0.02)
