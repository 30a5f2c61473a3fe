"""The outlet of a response in the background: nobody waits for it, it is kept."""

from collections.abc import Sequence

from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Aborted, OutletStats, RunResult

from .encoder import ResponseStreamEncoder
from .keeper import StreamKeeper
from .models import StoredStatus


class KeptOutlet:
    """Writes a run's stream into its keeper. What is durable counts as delivered."""

    def __init__(self, encoder: ResponseStreamEncoder, keeper: StreamKeeper) -> None:
        self.stats = OutletStats()
        self._encoder = encoder
        self._keeper = keeper
        self._opened = False
        self._closed = False
        keeper.status = StoredStatus.QUEUED
        keeper.take(encoder.waiting())

    def started(self) -> None:
        """Whoever follows sees that it is worked on."""
        if not self._closed:
            self._keeper.status = StoredStatus.IN_PROGRESS
            self._take(b"")

    async def write(self, event: AgentEvent) -> None:
        """Keep what the event changes."""
        await self.write_burst((event,))

    async def write_burst(self, events: Sequence[AgentEvent]) -> None:
        """Keep what several events change, as one piece."""
        if self._closed:
            return
        data: list[bytes] = []
        try:
            for event in events:
                if said := self._encoder.event(event):
                    data.append(said)
        finally:
            if data:  # Also where one of them cannot be said.
                self._take(b"".join(data))
                self.stats.events += len(data)
                self.stats.kept += len(data)
        if data:
            await self._keeper.room()

    async def end(self, result: RunResult) -> bool:
        """Keep the end."""
        if self._closed:
            return False
        self._closed = True
        return await self._keeper.finish(self._opening() + self._encoder.close(result))

    def gone(self, result: Aborted) -> None:
        """Whoever waited for its end waits no longer."""
        if not self._closed:
            self._closed = True
            self._keeper.abandon(self._opening() + self._encoder.close(result))

    def _take(self, data: bytes) -> None:
        self._keeper.take(self._opening() + data)

    def _opening(self) -> bytes:
        opening = b"" if self._opened else self._encoder.open()
        self._opened = True
        return opening
