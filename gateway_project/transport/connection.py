"""One connection: what was sent, what may still be sent, and whether the client is there."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.bounded import Bounded

Headers = Iterable[tuple[bytes, bytes]]
ASGISend = Callable[[Mapping[str, Any]], Awaitable[None]]


class Line:
    """The server's ``send`` of one connection. After `lost` nothing more is written and nothing is raised.

    Args:
        send: the ASGI ``send``. It may wait (back-pressure) and may raise `OSError` when the client is gone
            (ASGI specification, "Disconnected client").
        stall_seconds: how long one ``send`` may wait for a reader that does not read; None for ever.
        cut: closes the connection at once, where the server can.
    """

    def __init__(
        self, send: ASGISend, *, stall_seconds: float | None = None, cut: Callable[[], None] | None = None
    ) -> None:
        self._send = send
        self._stall_seconds = stall_seconds
        self._cut = cut
        self.on_lost: Callable[[AbortCause], object] | None = None
        """Told when writing finds that the client is gone, or stuck."""
        self.bytes_sent = 0
        self.is_lost = False

    def lost(self) -> None:
        """The client is gone."""
        self.is_lost = True

    async def attempt(self, sending: Awaitable[object]) -> bool:
        """Await something that sends. Returns whether the client is still there."""
        try:
            await Bounded(sending, self._stall_seconds)
        except TimeoutError:
            self._give_up(AbortCause.SLOW_READER)
            if self._cut is not None:
                self._cut()
        except OSError:
            self._give_up(AbortCause.CLIENT_DISCONNECT)
        return not self.is_lost

    def _give_up(self, cause: AbortCause) -> None:
        self.lost()
        if self.on_lost is not None:
            self.on_lost(cause)


class Connection(Line):
    """An HTTP exchange.

    Args:
        common_headers: headers of every reply.
    """

    def __init__(
        self,
        send: ASGISend,
        common_headers: Headers = (),
        *,
        stall_seconds: float | None = None,
        cut: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(send, stall_seconds=stall_seconds, cut=cut)
        self._common_headers = list(common_headers)
        self.status: int | None = None
        self.complete = False
        """The last part of the response was handed to the server.

        From then on a disconnect is the normal end: daphne reports one for every finished response, inside
        the very call that sends its last part (platform fact 2).
        """

    @property
    def started(self) -> bool:
        """Whether a status and headers were sent."""
        return self.status is not None

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers. A server holds them back until the first part of the body."""
        if self.is_lost:
            return
        self.status = status
        message = {"type": "http.response.start", "status": status, "headers": [*headers, *self._common_headers]}
        await self.attempt(self._send(message))

    async def write(self, data: bytes, *, more: bool) -> bool:
        """Send a part of the body. Returns whether it left, as far as the server tells."""
        if self.is_lost or self.complete:
            return False
        self.complete = not more
        self.bytes_sent += len(data)
        is_there = await self.attempt(self._send({"type": "http.response.body", "body": data, "more_body": more}))
        if not more:
            self.on_lost = None  # No more news from here; who listens knows this connection, and so would be kept.
        return is_there

    async def reply(self, status: int, body: bytes, headers: Headers = ()) -> bool:
        """Send a whole JSON reply."""
        standard = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
        await self.start(status, (*standard, *headers))
        return await self.write(body, more=False)
