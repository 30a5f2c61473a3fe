"""One connection: what was sent, what may still be sent, and whether the client is there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.bounded import Bounded

Headers = Iterable[tuple[bytes, bytes]]
ASGISend = Callable[[Mapping[str, Any]], Awaitable[None]]
ASGIReceive = Callable[[], Awaitable[Mapping[str, Any]]]


class ServerLine(Protocol):
    """What a server whose remedies are installed lets us do with a connection besides ASGI."""

    def cut(self) -> None:
        """Close the connection at once, whatever waits to be sent."""

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet, as far as that is known."""


class Line:
    """The server's ``send`` of one connection. After `lost` nothing more is written and nothing is raised.

    Args:
        send: the ASGI ``send``. It may wait (back-pressure) and may raise `OSError` when the client is gone
            (ASGI specification, "Disconnected client").
        stall_seconds: how long one ``send`` may wait for a reader that does not read; None for ever.
        server: None for a server that can do no more than ASGI says.
    """

    def __init__(self, send: ASGISend, *, stall_seconds: float | None = None, server: ServerLine | None = None) -> None:
        self._send = send
        self._stall_seconds = stall_seconds
        self._cut = None if server is None else server.cut
        self._unsent = None if server is None else server.unsent
        self.on_lost: Callable[[AbortCause], object] | None = None
        """Told when writing finds that the client is gone, or stuck."""
        self.bytes_sent = 0
        self.is_lost = False
        self._dropped: asyncio.Future[None] | None = None

    def lost(self) -> None:
        """The client is gone."""
        self.is_lost = True

    def drop(self) -> None:
        """Have no more to do with a client that may be there still, and that could wait for ever."""
        self.lost()
        if self._cut is not None:
            self._cut()
        elif self._dropped is not None and not self._dropped.done():
            self._dropped.set_result(None)

    def hearing(self, receive: ASGIReceive, last: Mapping[str, Any]) -> ASGIReceive:
        """`receive`, which gives `last` when the line is dropped and the server cannot cut it.

        The application then ends, and a server closes what was not brought to an end.
        """
        if self._cut is not None:
            return receive
        dropped = self._dropped = asyncio.get_running_loop().create_future()

        async def receive_or_last() -> Mapping[str, Any]:
            message = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((message, dropped), return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else last
            finally:
                message.cancel()

        return receive_or_last

    async def attempt(self, sending: Awaitable[object]) -> bool:
        """Await something that sends. Returns whether the client is still there."""
        try:
            await Bounded(sending, self._stall_seconds, self._unsent)
        except TimeoutError:
            self._give_up(AbortCause.SLOW_READER)
            self.drop()
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
        server: ServerLine | None = None,
    ) -> None:
        super().__init__(send, stall_seconds=stall_seconds, server=server)
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
