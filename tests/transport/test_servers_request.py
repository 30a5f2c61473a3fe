"""A reply that is written in one piece is byte for byte the one that daphne writes."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from gateway_project.transport.servers import channel as channel_module
from gateway_project.transport.servers.channel import GatewayChannel
from gateway_project.transport.servers.request import GatewayRequest

Headers = Sequence[tuple[bytes, bytes]]

GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
JSON: Headers = ((b"content-type", b"application/json"), (b"x-request-id", b"1"))


class Server:
    """As much of daphne's server as a request asks."""

    root_path = "/root"
    proxy_forwarded_address_header = None
    request_buffer_size = 8192

    def __init__(self, name: str) -> None:
        self.server_name = name
        self.requests: list[GatewayRequest] = []
        self.logged: list[dict[str, Any]] = []
        self.scope: dict[str, Any] = {}
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def protocol_connected(self, request: GatewayRequest) -> None:
        self.requests.append(request)

    def protocol_disconnected(self, request: GatewayRequest) -> None:
        pass

    def create_application(self, request: GatewayRequest, scope: dict[str, Any]) -> "asyncio.Queue[Any]":
        self.scope = scope
        return self.messages

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        self.logged.append({**details, "time_taken": 0})


class Transport(StringTransport):  # type: ignore[misc]
    """What a channel asks of a connection besides."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)


def received(request: bytes, server: Server, transport: Transport) -> GatewayRequest:
    """The request as it stands before its application replies."""
    channel = GatewayChannel()
    channel.factory = SimpleNamespace(server=server, log=lambda _: None)
    channel.requestFactory = GatewayRequest
    channel.makeConnection(transport)
    channel.dataReceived(request)
    [made] = server.requests
    return made


async def replied(
    request: bytes, status: int, headers: Headers, parts: Sequence[bytes], *, ours: bool, name: str = "daphne"
) -> tuple[bytes, list[dict[str, Any]], Transport]:
    """What goes over the wire, and what the access log hears, when an application replies so."""
    server, transport = Server(name), Transport()
    made = received(request, server, transport)
    made.raises_when_gone = ours
    made.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
    for number, part in enumerate(parts, start=1):
        made.handle_reply({"type": "http.response.body", "body": part, "more_body": number < len(parts)})
    return transport.value(), server.logged, transport


@pytest.mark.parametrize(
    ("request_", "status", "headers", "parts"),
    [
        pytest.param(GET, 200, (*JSON, (b"content-length", b"2")), [b"{}"], id="of a known length"),
        pytest.param(GET, 200, (*JSON, (b"Content-Length", b"2")), [b"{", b"}"], id="in two parts"),
        pytest.param(GET, 200, JSON, [b"one", b"", b"two", b""], id="a stream"),
        pytest.param(GET, 200, JSON, [b"one", b"two"], id="a stream whose last part says something"),
        pytest.param(GET, 503, JSON, [b""], id="nothing to say"),
        pytest.param(GET, 299, JSON, [b"{}"], id="an unknown status"),
        pytest.param(GET, 204, ((b"allow", b"GET"),), [b""], id="a status without a body"),
        pytest.param(GET, 200, (*JSON, (b"server", b"x"), (b"etag", b'"1"')), [b"{}"], id="a server of its own"),
        pytest.param(GET, 200, ((b"vary", b"Origin"), (b"vary", b"Accept")), [b"{}"], id="a field twice"),
        pytest.param(GET, 200, ((b"x-a", b"1\r\nx-b: 2\nx-c: 3\rx-d: 4\r\n"),), [b"{}"], id="a value of several lines"),
        pytest.param(GET.replace(b"GET", b"HEAD"), 200, (*JSON, (b"content-length", b"2")), [b"{}"], id="HEAD"),
        pytest.param(GET.replace(b"1.1", b"1.0"), 200, JSON, [b"one", b"two"], id="HTTP/1.0"),
        pytest.param(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 200, JSON, [b"{}"], id="the last one"),
    ],
)
@pytest.mark.parametrize("name", ["daphne", ""])
async def test_a_reply_is_the_one_that_daphne_writes(
    request_: bytes, status: int, headers: Headers, parts: Sequence[bytes], name: str
) -> None:
    ours, our_log, our_transport = await replied(request_, status, headers, parts, ours=True, name=name)
    theirs, their_log, their_transport = await replied(request_, status, headers, parts, ours=False, name=name)
    assert ours == theirs
    assert our_log == their_log
    assert len(our_log) == 1
    assert our_transport.disconnecting == their_transport.disconnecting


async def test_head_and_body_are_one_write() -> None:
    headers = (*JSON, (b"content-length", b"2"))
    assert (await replied(GET, 200, headers, [b"{}"], ours=True))[2].writes == 1
    assert (await replied(GET, 200, JSON, [b"one", b"two", b""], ours=True))[2].writes == 3


async def test_a_head_waits_for_the_body_and_is_sent_once() -> None:
    transport = Transport()
    request = received(GET, Server("daphne"), transport)
    request.raises_when_gone = True
    request.handle_reply({"type": "http.response.start", "status": 200, "headers": JSON})
    assert transport.value() == b""
    with pytest.raises(ValueError, match="already been started"):
        request.handle_reply({"type": "http.response.start", "status": 200, "headers": JSON})


POST = (
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull"
)


def with_field(line: bytes) -> bytes:
    """`POST` with one more field."""
    return POST.replace(b"Host:", line + b"\r\nHost:")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(POST, id="a body"),
        pytest.param(GET, id="none"),
        pytest.param(GET.replace(b"models", b"models/a%20b%2fc?x=1?y=%ff"), id="an escaped path, and a query"),
        pytest.param(GET.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(with_field(b"X-Two: 1\r\nx-two: 2\r\nX_Under: 3\r\nx-latin: \xe9"), id="more fields"),
        pytest.param(with_field(b"Daphne-Root-Path: /a%20b"), id="a root of its own"),
        pytest.param(with_field(b"Daphne-Root-Path: \xe9"), id="a root that is none"),
        pytest.param(with_field(b"X-Odd: a\x0bb"), id="a value that is none"),
        pytest.param(with_field(b"X-Odd: a\x85b"), id="another one"),
    ],
)
async def test_an_application_of_ours_is_told_what_daphne_tells(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    found = []
    for is_ours in (True, False):
        monkeypatch.setattr(
            channel_module, "is_claimed", lambda path, kind="http", ours=is_ours: ours and kind == "http"
        )
        server, transport = Server("daphne"), Transport()
        request = received(request_, server, transport)
        assert request.is_ours is is_ours
        messages = [server.messages.get_nowait() for _ in range(server.messages.qsize())]
        found.append((server.scope, messages, transport.value()[:12]))
    assert found[0] == found[1]
    assert bool(found[0][0]) is not found[0][2].startswith(b"HTTP/1.1 400")


async def test_a_target_beyond_ascii_is_refused_also_where_twisted_lets_it_pass() -> None:
    server, transport = Server("daphne"), Transport()
    request = received(GET, server, transport)
    request.is_ours, request.uri, server.scope = True, b"/v1/mod\xe9ls", {}
    request.process()
    assert server.scope == {}
    assert transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n")
