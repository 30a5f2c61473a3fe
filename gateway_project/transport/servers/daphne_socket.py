"""What daphne's WebSockets lack: back-pressure, every close code, answers to a handshake that is refused.

Facts 5 and 9 of the platform, and what its protocol asks of autobahn that this refuses: see the comments.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.python.failure import Failure

from gateway_project.transport.servers.flow import Flow, buffered
from gateway_project.transport.servers.prompt import write_no_more

_REASON_BYTES = 123
"""What a control frame leaves for the reason (RFC 6455, section 5.5)."""


class GatewaySocket(WebSocketProtocol):
    """A WebSocket that can be waited for."""

    muted: bool  # daphne's: tells the application nothing more
    is_ours = False
    raises_when_gone = False
    """Set by our consumers. Other applications go on to be spared (daphne's own way)."""

    def __init__(self) -> None:
        super().__init__()
        self._flow = Flow()
        self._refusal: tuple[Mapping[str, Any], bytes] | None = None
        self._is_gone = False

    # -- what our consumers ask -----------------------------------------------------------------------

    def serve_gateway(self, message_bytes: int) -> None:
        """Take messages of so many bytes, and raise `OSError` in ``send`` when the client is gone."""
        self.raises_when_gone = True
        self.maxMessagePayloadSize = self.maxFramePayloadSize = message_bytes
        self.failByDrop = False  # Say what was wrong (RFC 6455, section 7.4.1) instead of cutting the line.

    async def wait_until_flushed(self) -> bool:
        """Wait until the kernel has all that was sent. False when the connection was lost before."""
        return await self._flow.wait_until_flushed(self.transport)

    def cut(self) -> None:
        """Close the connection at once, whatever waits to be sent."""
        self.transport.abortConnection()

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet."""
        return buffered(self.transport)

    # -- what the server asks -------------------------------------------------------------------------

    async def wait_for_reader(self, message: Mapping[str, Any]) -> bool:
        """Wait while the client does not read. False when what was sent cannot reach it."""
        if message["type"] == "websocket.close":
            await self._flow.wait_until_flushed(self.transport)
            return not self._is_gone
        await self._flow.wait_for_room(self.transport)
        return not self._is_gone and self.state != self.STATE_CLOSING

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        """Send what the application says, in the ways that daphne does not know too."""
        if self._is_gone:
            return
        if message["type"] == "websocket.http.response.start":
            self._refusal = (message, b"")
        elif message["type"] == "websocket.http.response.body":
            self._answer_handshake(message)
        elif message["type"] == "websocket.close" and self.state != self.STATE_CONNECTING:
            # autobahn's own sendClose takes no code that is a server's to send, such as 1001.
            reason = encode_truncate(message.get("reason") or "", _REASON_BYTES)
            self.sendCloseFrame(code=message.get("code") or 1000, reasonUtf8=reason)
        elif message["type"] == "websocket.send" and self.raises_when_gone:
            if self.state == self.STATE_OPEN and message.get("text"):
                # Not sendMessage: it holds what is sent to the limit for what is received.
                self.sendFrame(opcode=1, payload=message["text"].encode())
        else:
            super().handle_reply(message)

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:  # noqa: N802, N803
        """Answer a handshake that is refused (ASGI, extension "WebSocket Denial Response")."""
        if self._refusal is None:
            super().sendHttpErrorResponse(code, reason, responseHeaders)
            return
        start, body = self._refusal
        lines = [b"HTTP/1.1 %d %s" % (code, reason.encode()), b"connection: close"]
        lines += [name + b": " + value for name, value in start.get("headers", ())]
        self.sendData(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    # -- what Twisted and autobahn tell ---------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:  # noqa: N802 (Twisted's name)
        """Hear of the transport's buffer in place of the HTTP channel that handed it over."""
        super().makeConnection(transport)
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The write buffer is full."""
        self._flow.full()

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The write buffer is empty."""
        self._flow.emptied()

    def stopProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The transport is closed; `connectionLost` tells the rest."""

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """The connection is gone. What knows it is parted from it, which only the garbage collector would do."""
        super().connectionLost(reason)
        self.is_closed = None  # autobahn's, whose result is this very object
        write_no_more(self.transport)

    def dropConnection(self, abort: bool = False) -> None:  # noqa: N802 (autobahn's name)
        """The client has closed, or is given up: tell it now, not when all that it does not read was sent."""
        super().dropConnection(abort)
        self._gone()
        if hasattr(self, "application_queue") and not self.muted:
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": self.remoteCloseCode or 1006})
            self.muted = True  # onClose would tell it again

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803 (autobahn's names)
        """The connection is gone."""
        self._gone()
        if hasattr(self, "request"):  # Otherwise the handshake was none, and daphne does not know this connection.
            super().onClose(wasClean, code, reason)

    def onAutoPingTimeout(self) -> None:  # noqa: N802 (autobahn's name)
        """Who has something to read may not have come to our ping yet: the limit for slow readers is his."""
        if buffered(self.transport):
            self.autoPingTimeoutCall = None
        else:
            super().onAutoPingTimeout()

    def _gone(self) -> None:
        self._is_gone = True
        self._flow.lost(self.transport)

    def _answer_handshake(self, message: Mapping[str, Any]) -> None:
        assert self._refusal is not None, "the start comes first (ASGI)"
        start, before = self._refusal
        self._refusal = (start, before + message.get("body", b""))
        if not message.get("more_body", False) and hasattr(self, "handshake_deferred"):
            deferred = self.handshake_deferred
            del self.handshake_deferred
            phrase = HTTPStatus(start["status"]).phrase
            deferred.errback(ConnectionDeny(start["status"], phrase))  # type: ignore[no-untyped-call]
            self.server.protocol_disconnected(self)


class GatewaySocketFactory(WebSocketFactory):
    """Builds sockets on `GatewaySocket`."""

    protocol = GatewaySocket
