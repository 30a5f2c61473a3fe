"""Keeps answers for those who come back: the final object, or the stream as it grows too."""

import asyncio
import logging
import uuid
from dataclasses import replace
from functools import partial

from gateway_project.execution.supervisor import Supervisor
from gateway_project.runs.journal import JournalUnavailable
from gateway_project.transport import sse

from .encoder import ResponseBuilder
from .following import announce
from .models import StoredStatus
from .store import AppendFrames, EndRecord, EndResponse, FramesRecord, ResponseRecord, StoreResponse

logger = logging.getLogger("gateway.responses")

_MOST_WAITING = 256 * 1024
"""Bytes of a stream that may wait for the database before the agent has to."""


class AnswerKeeper:
    """Keeps the final object of a response. Until then there is nothing to ask for.

    Args:
        record: its row but for the end.
    """

    keeps_stream = False

    def __init__(self, supervisor: Supervisor, builder: ResponseBuilder, record: ResponseRecord) -> None:
        self._supervisor = supervisor
        self._builder = builder
        self._record = record

    def take(self, data: bytes) -> None:
        """Of the stream nothing is kept."""

    async def room(self) -> None:
        """There always is."""

    async def finish(self, data: bytes) -> bool:
        """Keep the object; the next request may refer to it at once."""
        final = self._builder.final
        if final is None:
            return False
        record = replace(self._record, status=final["status"], body=_text(final))
        try:
            await self._supervisor.write(StoreResponse(record))
        except JournalUnavailable:
            logger.warning("response.not_stored_yet", extra={"run_id": record.id})
            return False
        return True

    def abandon(self, data: bytes) -> None:
        """A response that nobody was there to hear the end of is not kept."""


class StreamKeeper:
    """Keeps a response that is open already, with its stream, in batches as large as the database is slow.

    Args:
        response_id: of an open row.
    """

    keeps_stream = True
    status = StoredStatus.IN_PROGRESS
    """How the response is while it is open."""

    def __init__(self, supervisor: Supervisor, builder: ResponseBuilder, response_id: uuid.UUID) -> None:
        self._supervisor = supervisor
        self._builder = builder
        self._id = response_id
        self._next_number = 0
        self._waiting = bytearray()
        self._writing = False
        self._room = asyncio.Event()
        self._room.set()

    def take(self, data: bytes) -> None:
        """Keep more; it is on its way at once, unless a batch is."""
        self._waiting += data
        if len(self._waiting) > _MOST_WAITING:
            self._room.clear()
        if not self._writing:
            self._flush()

    async def room(self) -> None:
        """Wait while too much waits for the database."""
        await self._room.wait()

    async def finish(self, data: bytes) -> bool:
        """Keep the end."""
        try:
            await self._supervisor.write(self._end(data))
        except JournalUnavailable:
            logger.warning("response.not_stored_yet", extra={"run_id": self._id})
            return False
        finally:
            announce(self._id)
        return True

    def abandon(self, data: bytes) -> None:
        """Keep the end without waiting for it."""
        self._supervisor.submit(self._end(data)).add_done_callback(lambda _: announce(self._id))

    def _end(self, data: bytes) -> EndResponse:
        self._waiting += data.removesuffix(sse.DONE)
        frames = self._taken()
        final = self._builder.final
        assert final is not None, "the encoder has closed the stream"
        return EndResponse(
            EndRecord(
                id=self._id,
                status=final["status"],
                body=_text(final),
                first_number=frames.first_number,
                frames=frames.frames,
            )
        )

    def _flush(self) -> None:
        self._writing = True
        batch = self._taken()
        self._supervisor.submit(AppendFrames(batch)).add_done_callback(partial(self._flushed, batch))

    def _flushed(self, batch: FramesRecord, written: "asyncio.Future[object]") -> None:
        self._writing = False
        is_kept = not written.cancelled() and written.exception() is None and written.result() is True
        announce(self._id, batch if is_kept else None)
        if self._waiting:
            self._flush()

    def _taken(self) -> FramesRecord:
        """What waits, as one batch. Events have no empty line inside, so that they can be counted."""
        frames = bytes(self._waiting)
        self._waiting.clear()
        self._room.set()
        first, self._next_number = self._next_number, self._next_number + frames.count(b"\n\n")
        return FramesRecord(id=self._id, status=self.status, first_number=first, frames=frames.decode())


def _text(resource: object) -> str:
    return sse.dumps(resource).decode()
