"""The outlet of a response on a WebSocket: the events of its stream, each in one text frame."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Aborted, Completed, OutletStats, RunResult
from gateway_project.transport.errors import error_of
from gateway_project.transport.keeper import Keeper
from gateway_project.transport.socket import Socket, error_frame

from .encoder import ResponseBuilder
from .output import WireEvent


class SocketOutlet:
    """Writes one response to a socket that has others before and after it.

    Args:
        keeper: keeps the answer too.
        marks: what every frame has besides its event.
        parameter_names: the endpoint's own, as in `envelope`.
    """

    def __init__(
        self,
        socket: Socket,
        builder: ResponseBuilder,
        keeper: Keeper | None,
        *,
        marks: Mapping[str, Any] = MappingProxyType({}),
        parameter_names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.stats = OutletStats()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more comes of this response."""
        self._socket = socket
        self._builder = builder
        self._keeper = keeper
        self._marks = marks
        self._parameter_names = parameter_names
        self._sent_before = socket.bytes_sent
        self._events = 0
        self._opened = False
        self._closed = False
        self._told = False  # all of it is on its way
        self._sending = asyncio.Lock()

    def started(self) -> None:
        """A silent agent needs no heartbeat: the server's pings find out who has left."""

    async def write(self, event: AgentEvent) -> None:
        """Send what the event changes, and wait while the client does not read."""
        if self._closed:
            return
        self._events += 1
        async with self._sending:
            await self._send_changes(event)
        self.stats.events = self._events

    async def end(self, result: RunResult) -> bool:
        """Send the terminal event, or an error frame where no event came before it.

        Raises:
            Exception: what the answer could not be told for; the client was told that the server failed.
        """
        if self._closed:
            return False
        self._closed = True
        try:
            async with self._sending:
                return await self._say(result)
        except Exception:
            await self._fail(AgentMisbehaved("The answer could not be sent."))
            raise
        except asyncio.CancelledError:
            if not self._told:
                self._socket.drop()  # The rest of it would never come.
            raise
        finally:
            self._finish()

    def gone(self, result: Aborted) -> None:
        """Nobody listens, or not in time: write nothing more, and hang up."""
        self._closed = True
        self._socket.drop()
        self._finish()

    async def _send_changes(self, event: AgentEvent) -> None:
        if self._closed:
            return  # The last word was waiting for the same lock.
        changes = self._builder.add(event)
        if changes:
            await self._send([*self._opening(), *changes])

    async def _say(self, result: RunResult) -> bool:
        if not (self._opened or isinstance(result, Completed)):
            return await self._fail(error_of(result))
        events = [*self._opening(), *self._builder.end(result)]
        if self._keeper is not None:
            await self._keeper.finish(b"")
        await self._send(events)
        return await self._flush()

    async def _fail(self, error: AgentError) -> bool:
        self.stats.http_status = error.status
        await self._send([error_frame(error, self._parameter_names)])
        return await self._flush()

    async def _flush(self) -> bool:
        self._told = True
        return await self._socket.flush()

    def _opening(self) -> list[WireEvent]:
        """What comes before the first event; nothing afterwards."""
        if self._opened:
            return []
        self._opened = True
        self.stats.http_status = 200
        return self._builder.opening()

    async def _send(self, events: list[WireEvent]) -> None:
        for event in events:
            if not await self._socket.write({**event, **self._marks}):
                break
        self.stats.bytes = self._socket.bytes_sent - self._sent_before

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
