"""The direct outlet: what a run says goes through the endpoint's encoder to the client that waits for it."""

import asyncio
from collections.abc import Callable

from gateway_project.agents.errors import AgentMisbehaved
from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Completed, OutletStats, RunResult
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection, Headers
from gateway_project.transport.encoder import BodyEncoder, Encoder, StreamEncoder
from gateway_project.transport.errors import envelope, error_headers, error_of


class DirectOutlet:
    """Writes to one connection.

    A stream's status and headers go out with its first event or heartbeat, so that what fails before is an
    HTTP status still.

    Args:
        heartbeat_seconds: how long a stream may be silent before a comment is sent; 0 sends none.
    """

    def __init__(self, connection: Connection, encoder: Encoder, *, heartbeat_seconds: float) -> None:
        self.stats = OutletStats()
        self._events = 0
        self._connection = connection
        self._encoder = encoder
        self._heartbeat_seconds = heartbeat_seconds if isinstance(encoder, StreamEncoder) else 0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._closed = False
        self._sending = asyncio.Lock()
        self._beats: set[asyncio.Task[None]] = set()

    def started(self) -> None:
        """From here on silence is filled with heartbeats."""
        self._schedule_heartbeat()

    async def write(self, event: AgentEvent) -> None:
        """Send the event's bytes, if there are any."""
        if self._closed:
            return
        self._events += 1
        if isinstance(self._encoder, BodyEncoder):
            self._encoder.event(event)
            return
        encoder = self._encoder
        await self._stream(lambda: encoder.event(event))
        self.stats.events = self._events

    async def end(self, result: RunResult) -> bool:
        """Send the last word: the rest of the answer, an error frame, or an error reply.

        Raises:
            Exception: what the encoder raised; the client was told that the server failed.
        """
        if self._closed:
            return False
        self._close()
        async with self._sending:
            try:
                return await self._send_result(result)
            except Exception:
                await self._send_failure()
                raise

    def gone(self) -> None:
        """The client is gone: write nothing more."""
        self._close()
        self._connection.lost()

    async def _send_result(self, result: RunResult) -> bool:
        encoder = self._encoder
        if isinstance(encoder, StreamEncoder) and (self._connection.started or isinstance(result, Completed)):
            data = encoder.close(result)
            return await self._send(data if self._connection.started else encoder.open() + data, more=False)
        if isinstance(encoder, BodyEncoder) and isinstance(result, Completed):
            body = encoder.body(result)
            self.stats.events = self._events
            return await self._reply(200, body)
        assert not isinstance(result, Completed)
        error = error_of(result)
        return await self._reply(error.status, sse.dumps(envelope(error)), error_headers(error))

    async def _send_failure(self) -> None:
        """The answer could not be encoded: say so in the plainest way."""
        error = AgentMisbehaved("The answer could not be sent.")
        body = sse.dumps(envelope(error))
        if self._connection.started:
            await self._send(b"data: " + body + b"\n\n" + sse.DONE, more=False)
        else:
            await self._reply(error.status, body)

    async def _stream(self, encode: Callable[[], bytes]) -> None:
        """Send what `encode` makes. One at a time: an event and a heartbeat may come together with the last word."""
        async with self._sending:
            if self._closed:
                return
            data = encode()
            if not data:
                return
            if not self._connection.started:
                assert isinstance(self._encoder, StreamEncoder)
                data = self._encoder.open() + data
            await self._send(data, more=True)

    async def _send(self, data: bytes, *, more: bool) -> bool:
        if not self._connection.started:
            await self._connection.start(200, sse.HEADERS)
        try:
            return await self._connection.write(data, more=more)
        finally:
            self._count()
            self._schedule_heartbeat()

    async def _reply(self, status: int, body: bytes, headers: Headers = ()) -> bool:
        try:
            return await self._connection.reply(status, body, headers)
        finally:
            self._count()

    def _count(self) -> None:
        self.stats.http_status = self._connection.status
        self.stats.bytes = self._connection.bytes_sent

    def _schedule_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None
        if self._heartbeat_seconds and not self._closed:
            self._heartbeat = asyncio.get_running_loop().call_later(self._heartbeat_seconds, self._beat)

    def _beat(self) -> None:
        """A comment keeps load balancers from cutting a silent stream, and finds a client that vanished."""
        if self._closed or self._sending.locked():
            return
        beat = asyncio.get_running_loop().create_task(self._send_heartbeat(), name="gateway:heartbeat")
        self._beats.add(beat)
        beat.add_done_callback(self._beats.discard)

    async def _send_heartbeat(self) -> None:
        await self._stream(lambda: sse.HEARTBEAT)

    def _close(self) -> None:
        self._closed = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
