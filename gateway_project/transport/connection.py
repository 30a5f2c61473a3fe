"""One HTTP exchange: what was sent, what may still be sent, and whether the client is there."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

Headers = Iterable[tuple[bytes, bytes]]
ASGISend = Callable[[Mapping[str, Any]], Awaitable[None]]


class Connection:
    """Wraps the server's ``send``. After `lost` nothing more is written and nothing is raised.

    Args:
        send: the ASGI ``send`` of this request. It may wait (back-pressure) and may raise `OSError` when
            the client is gone (ASGI specification, HTTP, "Disconnected client").
        common_headers: headers of every reply.
    """

    def __init__(self, send: ASGISend, common_headers: Headers = ()) -> None:
        self._send = send
        self._common_headers = list(common_headers)
        self.status: int | None = None
        self.bytes_sent = 0
        self.complete = False
        """The last part of the response was handed to the server.

        From then on a disconnect is the normal end: daphne reports one for every finished response, inside
        the very call that sends its last part (platform fact 2).
        """
        self.is_lost = False

    @property
    def started(self) -> bool:
        """Whether a status and headers were sent."""
        return self.status is not None

    def lost(self) -> None:
        """The client is gone."""
        self.is_lost = True

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers. A server holds them back until the first part of the body."""
        if self.is_lost:
            return
        self.status = status
        message = {"type": "http.response.start", "status": status, "headers": [*headers, *self._common_headers]}
        await self._attempt(message)

    async def write(self, data: bytes, *, more: bool) -> bool:
        """Send a part of the body. Returns whether it left, as far as the server tells."""
        if self.is_lost or self.complete:
            return False
        self.complete = not more
        self.bytes_sent += len(data)
        return await self._attempt({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, status: int, body: bytes, headers: Headers = ()) -> bool:
        """Send a whole JSON reply."""
        standard = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
        await self.start(status, (*standard, *headers))
        return await self.write(body, more=False)

    async def _attempt(self, message: Mapping[str, Any]) -> bool:
        try:
            await self._send(message)
        except OSError:
            self.lost()
        return not self.is_lost
