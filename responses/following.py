"""Reads the stream of a response again, and on to its end: the database is the log, whoever follows reads on.

Nobody but the run writes the log, so that it makes no difference which process a follower has come to. Those in the
run's own process are told what was written, and need not ask for it.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from gateway_project import clock
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection
from gateway_project.transport.errors import APIError

from .dialect import Dialect, retold
from .encoder import error_event
from .lost import settle_if_lost
from .models import StoredFrames, StoredResponse
from .reading import read
from .store import FramesRecord, MarkFollowed

logger = logging.getLogger("gateway.responses")

_LOOK_EVERY_SECONDS = 0.25
"""How often somebody else's run is looked at. One of this process tells when there is news."""
_LOOK_AT_OUR_OWN_SECONDS = 2.0
_BATCHES = 50

_MARK_EVERY_SECONDS = 2.0
_MOST_TOLD = 256 * 1024
"""Characters that a follower may be told of before he has sent them; one who is slower asks the database."""

_listeners: dict[uuid.UUID, set["Listener"]] = {}
_left: dict[uuid.UUID, Callable[[], None]] = {}


def when_left(response_id: uuid.UUID, callback: Callable[[], None] | None) -> None:
    """Call `callback` whenever the last who follows it in this process has gone; None for never again."""
    if callback is None:
        _left.pop(response_id, None)
    else:
        _left[response_id] = callback


def announce(response_id: uuid.UUID, batch: FramesRecord | None = None) -> None:
    """There is more of this response's stream: `batch`, or what the database knows, as its end."""
    for listener in _listeners.get(response_id, ()):
        listener.tell(batch)


def is_followed(response_id: uuid.UUID) -> bool:
    """Whether somebody follows it in this process."""
    return response_id in _listeners


class ResponseDeleted(APIError):
    """It was there when its stream began to be read."""

    status = 404
    code = "response_not_found"

    def __init__(self) -> None:
        super().__init__("The response was deleted while its stream was read.", param="id")


@dataclass(frozen=True, slots=True)
class Piece:
    """What is new of a stream.

    Attributes:
        last: the number of its last event.
        is_open: whether the response was open when it was read.
        is_cut: whether there was more to read.
    """

    frames: str
    last: int
    is_open: bool = True
    is_cut: bool = False


class Listener:
    """What somebody who follows a stream has been told since he last looked."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.must_ask = True
        """Whether the database knows what he was not told."""
        self._told: list[tuple[int, str]] = []
        self._size = 0

    def tell(self, batch: FramesRecord | None) -> None:
        """There is more."""
        if batch is None or self._size + len(batch.frames) > _MOST_TOLD:
            self.must_ask = True
            self.heard(0)
        else:
            self._told.append((batch.first_number, batch.frames))
            self._size += len(batch.frames)
        self.news.set()

    def heard(self, after: int) -> Piece:
        """What of it is behind `after`; it is told once."""
        told, self._told, self._size = self._told, [], 0
        return Piece(*_behind(told, after))


async def follow(
    response_id: uuid.UUID, after: int, dialect: Dialect = Dialect.OPEN_RESPONSES
) -> AsyncGenerator[bytes, None]:
    """The events with a number above `after`, as they come, to the terminal one; then ``[DONE]``.

    A heartbeat comes where nothing else does.

    Raises:
        ResponseDeleted: when it is deleted before its end was read.
        DatabaseAway: when the database does not answer.
    """
    heartbeat_seconds = gateway_settings().HEARTBEAT_SECONDS
    with _listening(response_id) as listener:
        silent_since = clock.monotonic()
        marked_at = -_MARK_EVERY_SECONDS
        while True:
            listener.news.clear()
            piece = await _next(listener, response_id, after)
            if piece.frames:
                after = piece.last
                silent_since = clock.monotonic()
                yield retold(piece.frames, dialect).encode()
                continue
            if not piece.is_open:
                yield sse.DONE
                return
            if await settle_if_lost(response_id):
                continue
            if heartbeat_seconds and clock.monotonic() - silent_since >= heartbeat_seconds:
                silent_since = clock.monotonic()
                yield sse.HEARTBEAT
            ours = response_id in current_supervisor().runs
            if not ours and clock.monotonic() - marked_at >= _MARK_EVERY_SECONDS:
                marked_at = clock.monotonic()
                current_supervisor().submit(MarkFollowed(response_id, 2 * _MARK_EVERY_SECONDS))
            try:
                async with asyncio.timeout(_LOOK_AT_OUR_OWN_SECONDS if ours else _LOOK_EVERY_SECONDS):
                    await listener.news.wait()
            except TimeoutError:
                listener.must_ask = True


async def _next(listener: Listener, response_id: uuid.UUID, after: int) -> Piece:
    if not listener.must_ask:
        return listener.heard(after)
    listener.must_ask = False  # Before the answer is there: whatever is told from now on may not be in it.
    piece = await read(_piece, response_id, after)
    listener.must_ask |= piece.is_cut or not piece.is_open
    return piece


async def ended(response_id: uuid.UUID) -> None:
    """Wait until a response has its end."""
    async with aclosing(follow(response_id, 2**31)) as stream:
        async for data in stream:
            if data is sse.DONE:
                return


class StreamFollower:
    """Sends a response's stream to one connection, in a task of its own that ends with the connection."""

    def __init__(self, connection: Connection, dialect: Dialect = Dialect.OPEN_RESPONSES) -> None:
        self._connection = connection
        self._dialect = dialect
        self._task: asyncio.Task[None] | None = None
        self._last = -1

    def start(self, response_id: uuid.UUID, *, after: int = -1) -> None:
        """Begin. Returns at once, so that the client's leaving can be heard."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._send(response_id, after), name=f"follow:{response_id}")

    def stop(self) -> None:
        """The client is gone. The response is not."""
        if self._task is not None:
            self._task.cancel()

    async def _send(self, response_id: uuid.UUID, after: int) -> None:
        self._last = after
        await self._connection.start(200, sse.HEADERS)
        try:
            async with aclosing(follow(response_id, after, self._dialect)) as stream:
                async for data in stream:
                    if not await self._connection.write(data, more=data is not sse.DONE):
                        return
                    self._last += data.count(b"\ndata: ")
        except AgentError as error:
            await self._fail(error)
        except Exception:
            logger.exception("follow.failed", extra={"run_id": response_id})
            await self._fail(AgentMisbehaved("The stream cannot be read."))

    async def _fail(self, error: AgentError) -> None:
        # With the number of the last event that was sent: whoever goes on behind it misses none.
        await self._connection.write(error_event(error, self._last) + sse.DONE, more=False)


def _piece(response_id: uuid.UUID, after: int) -> Piece:
    """What stands in the database behind `after`. The status is read first: its end comes with the last events."""
    alias = gateway_settings().DATABASE
    response = StoredResponse.objects.using(alias).filter(pk=response_id).only("status").first()
    if response is None:
        raise ResponseDeleted
    batches = StoredFrames.objects.using(alias).filter(response=response_id).order_by("first_number")
    # The batch that `after` lies in may go on behind it.
    start = batches.filter(first_number__lte=after + 1).order_by("-first_number").values_list("first_number", flat=True)
    found = list(batches.filter(first_number__gte=start.first() or 0).values_list("first_number", "frames")[:_BATCHES])
    return Piece(*_behind(found, after), is_open=response.is_open, is_cut=len(found) == _BATCHES)


def _behind(batches: Iterable[tuple[int, str]], after: int) -> tuple[str, int]:
    """The events with a number above `after`, and that of the last one. Each batch comes with that of its first."""
    fresh: list[str] = []
    for first, frames in batches:
        if first > after:
            fresh.append(frames)
            after = first + frames.count("\n\n") - 1
        else:
            for number, frame in enumerate(frames.split("\n\n")[:-1], first):
                if number > after:
                    fresh.append(frame + "\n\n")
                    after = number
    return "".join(fresh), after


@contextmanager
def _listening(response_id: uuid.UUID) -> Iterator[Listener]:
    listener = Listener()
    _listeners.setdefault(response_id, set()).add(listener)
    try:
        yield listener
    finally:
        _listeners[response_id].discard(listener)
        if not _listeners[response_id]:
            del _listeners[response_id]
            if response_id in _left:
                _left[response_id]()
