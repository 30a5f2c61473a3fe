"""Requests put together byte by byte, and what every reply to one must be."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Reply

SECONDS = 6.0
"""Of the server's own work: ten times of what the largest takes. What takes the square of it would need minutes."""
PATIENCE_SECONDS = 60.0
"""Within which everything is answered."""
CLOSED = 0
"""Stands for a connection that is closed without a reply."""


@dataclass(frozen=True)
class Case:
    """A request that differs from a good one, and the statuses that it may get.

    ``{path}`` in `line` is the route's. A `body` of None is the good one; `length` says whether its
    Content-Length is sent; `drop` names headers to leave out, `add` has whole lines to add. `follows`: whether
    another request may follow on the connection, where the reply does not say that it is closed.
    """

    name: str
    statuses: tuple[int, ...]
    line: str = "POST {path} HTTP/1.1"
    drop: tuple[str, ...] = ()
    add: tuple[bytes, ...] = ()
    body: bytes | None = None
    length: bool = True
    code: str | None = None
    follows: bool = True

    def __str__(self) -> str:
        return self.name


def good_body(route: Route, **more: Any) -> bytes:
    """A body that is served."""
    return json.dumps(route.body("scripted/count-3", stream=False, **more)).encode()


def build(case: Case, route: Route, key: str) -> bytes:
    """The bytes of a request."""
    body = good_body(route) if case.body is None else case.body
    fields = {
        "Host": b"127.0.0.1",
        "Authorization": b"Bearer " + key.encode(),
        "Content-Type": b"application/json",
        "Content-Length": str(len(body)).encode(),
    }
    drop = case.drop if case.length else (*case.drop, "Content-Length")
    lines = [name.encode() + b": " + value for name, value in fields.items() if name not in drop]
    return b"\r\n".join([case.line.replace("{path}", route.path).encode("latin-1"), *lines, *case.add, b"", body])


def cpu_seconds(gateway: Gateway) -> float:
    """What the server has worked so far."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check(gateway: Gateway, route: Route, case: Case) -> Reply | None:
    """Send a case, hold its reply against what every reply must be, and see that good requests are served after it."""
    client = Client(gateway.port, timeout=PATIENCE_SECONDS)
    begun = cpu_seconds(gateway)
    with suppress(ConnectionError):  # It may be refused before all was sent.
        client.socket.sendall(build(case, route, gateway.key))
    try:
        is_head = case.line.startswith("HEAD")
        reply = client.read_head() if is_head else client.read_reply()
    except (EOFError, ConnectionError):
        reply = None
    assert cpu_seconds(gateway) - begun < SECONDS
    assert (reply.status if reply else CLOSED) in case.statuses, reply
    if reply is not None:
        if reply.status >= 400 and not is_head:
            check_envelope(reply, case.code)
        if reply.headers.get("connection") == "close" or "HTTP/1.0" in case.line:
            assert client.is_closed_by_server()
        elif case.follows:
            check_good(client, gateway, route)
    client.close()
    check_good(Client(gateway.port), gateway, route)
    return reply


def check_envelope(reply: Reply, code: str | None = None) -> dict[str, Any]:
    """Every error is one JSON object with these four keys."""
    assert 400 <= reply.status < 500, reply
    assert reply.headers["content-type"] == "application/json"
    assert reply.body.decode(), "valid UTF-8"
    assert set(reply.json) == {"error"}
    error: dict[str, Any] = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["message"], str)
    assert len(error["message"]) <= 1000
    if code is not None:
        assert error["code"] == code, error
    return error


def check_good(client: Client, gateway: Gateway, route: Route) -> None:
    """A good request is served on this connection."""
    client.socket.sendall(build(Case("good", (200,)), route, gateway.key))
    reply = client.read_reply()
    assert (reply.status, route.text(reply.json)) == (200, "alpha bravo charlie")
