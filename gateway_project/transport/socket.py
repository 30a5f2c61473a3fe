"""One WebSocket, from the server's side: accepted or refused, written to, closed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from gateway_project.agents.errors import AgentError
from gateway_project.transport import sse
from gateway_project.transport.connection import ASGISend, Headers, Line, ServerLine
from gateway_project.transport.errors import envelope, error_headers

NORMAL = 1000
GOING_AWAY = 1001
ABNORMAL = 1006
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012


class ServerSocket(ServerLine, Protocol):
    """What a server whose remedies are installed lets us do with a WebSocket besides ASGI."""

    def serve_gateway(self, message_bytes: int) -> None:
        """Take messages of so many bytes, and raise `OSError` in ``send`` when the client is gone."""

    async def wait_until_flushed(self) -> bool:
        """Wait until the kernel has all that was sent. False when the connection was lost before."""


class Socket(Line):
    """Wraps the server's ``send`` of one WebSocket.

    Args:
        server: None for a server that can do no more than ASGI says.
    """

    def __init__(
        self, send: ASGISend, *, stall_seconds: float | None = None, server: ServerSocket | None = None
    ) -> None:
        super().__init__(send, stall_seconds=stall_seconds, server=server)
        self._server = server

    async def accept(self, subprotocol: str | None, headers: Headers) -> None:
        """Open it."""
        message = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": list(headers)}
        await self.attempt(self._send(message))

    async def refuse(self, error: AgentError, headers: Headers, *, extensions: Iterable[str]) -> None:
        """Answer the handshake with an error, or with a bare 403 where the server can do no better."""
        if "websocket.http.response" not in extensions:
            await self.attempt(self._send({"type": "websocket.close"}))
            return
        body = sse.dumps(envelope(error))
        own = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
        all_headers = [*own, *error_headers(error), *headers]
        start = {"type": "websocket.http.response.start", "status": error.status, "headers": all_headers}
        await self.attempt(self._send(start))
        await self.attempt(self._send({"type": "websocket.http.response.body", "body": body, "more_body": False}))

    async def write(self, message: Mapping[str, Any]) -> bool:
        """Send a JSON object as one text frame. Returns whether the client is still there.

        Raises:
            ValueError: for what JSON cannot say.
        """
        data = sse.dumps(message)
        if self.is_lost:
            return False
        self.bytes_sent += len(data)
        return await self.attempt(self._send({"type": "websocket.send", "text": data.decode()}))

    async def flush(self) -> bool:
        """Wait until all that was written has left, as far as the server tells."""
        if self._server is None or self.is_lost:
            return not self.is_lost
        return await self.attempt(self._drained(self._server.wait_until_flushed))

    async def close(self, code: int, reason: str = "") -> None:
        """Close it."""
        if not self.is_lost:
            await self.attempt(self._send({"type": "websocket.close", "code": code, "reason": reason}))
            self.lost()

    async def _drained(self, wait: Callable[[], Awaitable[bool]]) -> None:
        if not await wait():
            raise ConnectionError("the client is gone")


def error_frame(error: AgentError, names: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """``WebSocketErrorEvent`` of Open Responses. `names` as in `envelope`."""
    return {"type": "error", "status": error.status, **envelope(error, names)}
