"""One connection to the upstream, on which one exchange follows the other."""

import asyncio
import socket
from contextlib import suppress
from typing import cast

from gateway_project.agents.openai.wire import Answer, Head, WireError

READ_BYTES = 16 * 1024
"""Of one read: what becomes of it is in memory while the client does not read."""
_WRITE_BYTES = 64 * 1024

_scratch = memoryview(bytearray(READ_BYTES))
"""Where all connections read to. What was read is copied out before anything else happens.

A view: asyncio's TLS reads one record after the other into slices of it, and a slice of a bytearray is a copy.
"""


class Exchange(asyncio.BufferedProtocol):
    """A connection. `ask` begins an exchange; then `head`, and `read` until it gives nothing more.

    Raises of all that waits:
        TimeoutError: when `deadline` has passed.
        OSError: when the connection is lost.
        WireError: when what came cannot be understood.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.deadline = 0.0
        """By the loop's clock: until when the next thing must have come. Set it before each wait."""
        self._loop = asyncio.get_running_loop()
        self._answer = Answer()
        self._error: Exception | None = None
        self._is_asked = False
        """Whether all of the request was sent: else what follows would be taken for the rest of it."""
        self._is_lost = False
        self._is_reading = True
        self._may_write = True
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- what the exchange does -----------------------------------------------------------------------

    @property
    def is_free(self) -> bool:
        """Whether another exchange may begin."""
        answer = self._answer
        return self._is_asked and answer.done and answer.can_follow and not self._is_lost and not answer.pieces

    async def ask(self, request: bytes) -> None:
        """Send a request; returns when all of it is on its way, or when the answer has come already."""
        self._answer = Answer()
        self._is_asked = len(request) <= _WRITE_BYTES
        if self._is_asked:
            self.transport.write(request)
            return
        left = memoryview(request)
        while left and not self._answer.head:
            # In pieces, as the upstream takes them: the transport would copy what it cannot send.
            self.transport.write(left[:_WRITE_BYTES])
            left = left[_WRITE_BYTES:]
            while not (self._may_write or self._answer.head):
                await self._wait()
        self._is_asked = not left

    async def head(self) -> Head:
        """The head of the answer."""
        while self._answer.head is None:
            await self._wait()
        return self._answer.head

    async def read(self) -> bytes:
        """What has come of the body since the last read, or else what comes next; empty at the end."""
        answer = self._answer
        while not answer.pieces:
            if answer.done:
                return b""
            await self._wait()
        pieces, answer.pieces = answer.pieces, []
        if not self._is_reading:
            self._is_reading = True
            self.transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Close now, without waiting for what is unsent, or for the other side's TLS goodbye.

        For everybody: to close our own descriptor tells the upstream nothing while a forked child has another.
        """
        self._cancel_timer()
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            with suppress(OSError):  # It is lost already.
                connected.shutdown(socket.SHUT_RDWR)
        self.transport.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        if self._timer is None or self._timer.when() > self.deadline:
            self._cancel_timer()
            self._timer = self._loop.call_at(self.deadline, self._ring)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ring(self) -> None:
        """One timer serves many waits, and exchanges: when it rings, the deadline may have moved on."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self.deadline:
            self._timer = self._loop.call_at(self.deadline, self._ring)
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._answer.can_follow = False
        self._error = error.with_traceback(None)  # Whose frames know this connection.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # -- what the connection tells --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _scratch

    def buffer_updated(self, nbytes: int) -> None:
        answer = self._answer
        try:
            answer.feed(_scratch[:nbytes])
        except WireError as error:
            self._fail(error)
            self.transport.abort()
            return
        if self._waiter is None and self._is_reading and sum(map(len, answer.pieces)) > READ_BYTES:
            self._is_reading = False  # Nobody waits for it: no more until this is taken.
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._answer.can_follow = False  # Nobody shall take it in the moment until it is lost.
        return False

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        try:
            self._answer.end()
        except WireError as error:
            self._fail(
                error if self._answer.head is not None else exc or ConnectionResetError("closed without an answer")
            )
        else:
            self._wake()
