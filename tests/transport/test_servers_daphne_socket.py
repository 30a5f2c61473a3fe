"""What is added to daphne's WebSockets, over a transport that only remembers."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from gateway_project.transport.servers.daphne_socket import GatewaySocket, GatewaySocketFactory


class Server:
    """What a socket asks of daphne's server."""

    def protocol_disconnected(self, protocol: object) -> None:
        """Nothing comes of it."""

    def log_action(self, *details: object) -> None:
        """Nothing comes of it."""


@pytest.fixture
def transport() -> Any:
    """It never sends anything, as one whose reader does not read. An HTTP channel has handed it over."""
    transport = StringTransport()
    transport.registerProducer(object(), True)
    return transport


@pytest.fixture
async def opened(transport: Any) -> GatewaySocket:
    """A socket that is open, with the inbox of its application."""
    socket: GatewaySocket = GatewaySocketFactory(Server()).buildProtocol(None)
    socket.makeConnection(transport)
    socket.openHandshakeTimeoutCall.cancel()
    socket.openHandshakeTimeoutCall = None
    socket.server, socket.request, socket.client_addr = Server(), SimpleNamespace(path="/"), None
    socket.websocket_version, socket.state = 13, socket.STATE_OPEN
    socket.application_queue = asyncio.Queue()
    return socket


def told(socket: GatewaySocket) -> list[dict[str, Any]]:
    """All that the application was told."""
    return [socket.application_queue.get_nowait() for _ in range(socket.application_queue.qsize())]


async def test_a_client_that_closes_is_gone_before_all_that_it_does_not_read_was_sent(
    opened: GatewaySocket, transport: Any
) -> None:
    opened.serve_gateway(1000)
    opened.onCloseFrame(1000, None)
    assert transport.disconnecting
    assert [message["type"] for message in told(opened)] == ["websocket.disconnect"]
    opened.onClose(True, 1000, "")
    assert told(opened) == [], "it is told once"


async def test_who_waits_for_room_goes_on_when_the_buffer_is_empty_or_the_client_gone(opened: GatewaySocket) -> None:
    for happens, is_there in ((opened.resumeProducing, True), (lambda: opened.onClose(False, 1006, ""), False)):
        opened.pauseProducing()
        waiting = asyncio.ensure_future(opened.wait_for_reader({"type": "websocket.send"}))
        await asyncio.sleep(0)
        assert not waiting.done()
        happens()
        assert await waiting is is_there


async def test_other_applications_may_close_with_any_code(opened: GatewaySocket, transport: Any) -> None:
    opened.handle_reply({"type": "websocket.close", "code": 1013, "reason": "ü" * 100})
    header, payload = transport.value()[:2], transport.value()[2:]
    assert header[0] == 0x88
    assert len(payload) == header[1] <= 125
    assert payload[2:].decode() == "ü" * 61
    assert int.from_bytes(payload[:2]) == 1013
    opened.closeHandshakeTimeoutCall.cancel()
