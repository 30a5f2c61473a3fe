"""The outlet of a response in the background: nobody waits for it, it is kept."""

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
        if self._closed:
            return
        data = self._encoder.event(event)
        if data:
            self._take(data)
            self.stats.events += 1
            self.stats.kept += 1
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
