"""The direct outlet: what a run says goes through the endpoint's encoder to the client that waits for it."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from gateway_project.agents.errors import AgentMisbehaved
from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Aborted, Completed, OutletStats, RunResult
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection, Headers
from gateway_project.transport.encoder import BodyEncoder, Encoder, StreamEncoder
from gateway_project.transport.errors import envelope, error_headers, error_of
from gateway_project.transport.keeper import Keeper


class DirectOutlet:
    """Writes to one connection.

    A stream's status and headers go out with its first event or heartbeat, so that what fails before is an
    HTTP status still.

    Args:
        heartbeat_seconds: how long a stream may be silent before a comment is sent; 0 sends none.
        keeper: keeps the answer too. One that keeps the stream is written to when the client is gone as well.
        parameter_names: the endpoint's own, as in `envelope`.
    """

    def __init__(
        self,
        connection: Connection,
        encoder: Encoder,
        *,
        heartbeat_seconds: float,
        keeper: Keeper | None = None,
        parameter_names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.stats = OutletStats()
        self._events = 0
        self._connection = connection
        self._encoder = encoder
        self._keeper = keeper
        self._parameter_names = parameter_names
        self._opened = False
        self._heartbeat_seconds = heartbeat_seconds if isinstance(encoder, StreamEncoder) else 0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._sent_at = 0.0
        self._closed = False
        self._sending = asyncio.Lock()
        self._beats: set[asyncio.Task[None]] = set()

    def started(self) -> None:
        """From here on silence is filled with heartbeats."""
        self._sent_at = asyncio.get_running_loop().time()
        self._schedule_heartbeat()

    async def write(self, event: AgentEvent) -> None:
        """Send the event's bytes, if there are any."""
        await self.write_burst((event,))

    async def write_burst(self, events: Sequence[AgentEvent]) -> None:
        """Send the bytes of several events, if there are any, in one piece."""
        encoder = self._encoder
        if isinstance(encoder, BodyEncoder):
            for event in events if not self._closed else ():
                self._events += 1
                encoder.event(event)
            return
        async with self._sending:  # An event and a heartbeat may come together with the last word.
            if self._closed:
                return
            data: list[bytes] = []
            try:
                self._encode(encoder, events, data)
            finally:
                if said := b"".join(data):  # Also where one of them cannot be said.
                    await self._send(self._take(self._opening() + said), more=True)
        if self._keeper is not None:
            await self._keeper.room()
        self.stats.events = self._events

    async def end(self, result: RunResult) -> bool:
        """Send the last word: the rest of the answer, an error frame, or an error reply.

        Raises:
            Exception: what the encoder raised; the client was told that the server failed.
        """
        if self._closed:
            return False
        self._close()
        try:
            async with self._sending:
                return await self._send_result_or_failure(result)
        except asyncio.CancelledError:
            if not self._connection.complete:
                self._connection.drop()  # The rest of it would never come.
            raise

    def gone(self, result: Aborted) -> None:
        """Nobody listens, or not in time: write nothing more, and hang up."""
        try:
            if not self._closed and self._keeper is not None and self._keeper.keeps_stream:
                self._keeper.abandon(self._last_frames(result))
        finally:
            self._close()
            self._connection.drop()

    async def _send_result_or_failure(self, result: RunResult) -> bool:
        try:
            return await self._send_result(result)
        except Exception:
            await self._send_failure()
            raise

    async def _send_result(self, result: RunResult) -> bool:
        if isinstance(self._encoder, BodyEncoder):
            return await self._send_body(self._encoder, result)
        if self._keeper is None:
            if not (self._connection.started or isinstance(result, Completed)):
                return await self._send_error(result)
            return await self._send(self._last_frames(result), more=False)
        frames = self._last_frames(result)
        kept = await self._keeper.finish(frames) and self._keeper.keeps_stream
        if self._connection.started or isinstance(result, Completed):
            return await self._send(frames, more=False) or kept
        return await self._send_error(result) or kept

    async def _send_body(self, encoder: BodyEncoder, result: RunResult) -> bool:
        if not isinstance(result, Completed):
            return await self._send_error(result)
        body = encoder.body(result)
        self.stats.events = self._events
        if self._keeper is not None:
            await self._keeper.finish(b"")
        return await self._reply(200, body)

    async def _send_error(self, result: RunResult) -> bool:
        assert not isinstance(result, Completed)
        error = error_of(result)
        return await self._reply(error.status, sse.dumps(envelope(error, self._parameter_names)), error_headers(error))

    def _last_frames(self, result: RunResult) -> bytes:
        assert isinstance(self._encoder, StreamEncoder)
        data = self._encoder.close(result)
        return self._opening() + data

    def _opening(self) -> bytes:
        """What comes before the first event; nothing afterwards."""
        if self._opened:
            return b""
        assert isinstance(self._encoder, StreamEncoder)
        self._opened = True
        return self._encoder.open()

    def _encode(self, encoder: StreamEncoder, events: Sequence[AgentEvent], data: list[bytes]) -> None:
        """Add the events' bytes to `data`; when one cannot be encoded, those before it are there."""
        for _, alike in groupby(events, key=type):
            first, *others = alike
            if others and self._encode_at_once(encoder, [first, *others], data):
                continue
            self._encode_one(encoder, first, data)
            # The first may have opened what the others go on with.
            if others and not self._encode_at_once(encoder, others, data):
                for event in others:
                    self._encode_one(encoder, event, data)

    def _encode_one(self, encoder: StreamEncoder, event: AgentEvent, data: list[bytes]) -> None:
        self._events += 1
        data.append(encoder.event(event))

    def _encode_at_once(self, encoder: StreamEncoder, events: Sequence[AgentEvent], data: list[bytes]) -> bool:
        """Whether that is possible, and done."""
        at_once = encoder.burst(events)
        if at_once is None:
            return False
        self._events += len(events)
        data.append(at_once)
        return True

    def _take(self, data: bytes) -> bytes:
        """`data`, in the keeper's hands too."""
        if data and self._keeper is not None:
            self._keeper.take(data)
        return data

    async def _send_failure(self) -> None:
        """The answer could not be encoded: say so in the plainest way."""
        error = AgentMisbehaved("The answer could not be sent.")
        if not self._connection.started:
            await self._reply(error.status, sse.dumps(envelope(error)))
        elif isinstance(self._encoder, StreamEncoder):
            await self._send(self._encoder.broken_off(error), more=False)

    async def _send(self, data: bytes, *, more: bool) -> bool:
        if not self._connection.started:
            await self._connection.start(200, sse.HEADERS)
        try:
            return await self._connection.write(data, more=more)
        finally:
            self._count()
            self._sent_at = asyncio.get_running_loop().time()
            if self._heartbeat is None:
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
        """One timer for the whole stream: when it rings, it looks whether there was silence for so long."""
        if self._heartbeat_seconds and not (self._closed or self._connection.is_lost):
            at = self._sent_at + self._heartbeat_seconds
            self._heartbeat = asyncio.get_running_loop().call_at(at, self._beat)

    def _beat(self) -> None:
        """A comment keeps load balancers from cutting a silent stream, and finds a client that vanished."""
        self._heartbeat = None
        if self._closed or self._sending.locked():
            return  # Whatever is being sent arms it again.
        if asyncio.get_running_loop().time() < self._sent_at + self._heartbeat_seconds:
            self._schedule_heartbeat()
            return
        beat = asyncio.get_running_loop().create_task(self._send_heartbeat(), name="gateway:heartbeat")
        self._beats.add(beat)
        beat.add_done_callback(self._beats.discard)

    async def _send_heartbeat(self) -> None:
        async with self._sending:
            if not self._closed:
                await self._send(self._take(self._opening()) + sse.HEARTBEAT, more=True)

    def _close(self) -> None:
        self._closed = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
