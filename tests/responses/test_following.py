"""Following a stream that is kept: at what cost, and what its follower is told when it cannot be read on."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection
from gateway_project.transport.errors import DatabaseAway
from responses import following, lost
from responses.dialect import Dialect
from responses.following import Piece, StreamFollower, announce, follow
from responses.store import FramesRecord
from tests.responses.reader import events_of
from tests.responses.scenarios import SCENARIOS, stream

EVENTS = stream(*SCENARIOS["text"])


@pytest.mark.compliance("Open Responses", "error", "data: [DONE]")
@pytest.mark.compliance("OpenAI Responses", "ResponseErrorEvent", "starting_after")
@pytest.mark.parametrize("after", [-1, 3])
async def test_when_the_database_goes_away_an_error_event_says_so_and_after_which_event(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow(response_id: uuid.UUID, after: int, dialect: Dialect) -> AsyncGenerator[bytes, None]:
        for event in EVENTS[after + 1 : 6]:
            yield sse.named_event(event["type"], event) + sse.HEARTBEAT
        raise DatabaseAway

    monkeypatch.setattr(following, "follow", follow)
    sent: list[Mapping[str, Any]] = []
    ended = asyncio.Event()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)
        if not message.get("more_body", True):
            ended.set()

    follower = StreamFollower(Connection(send))
    follower.start(ids.new_run_id(), after=after)
    async with asyncio.timeout(30):
        await ended.wait()
    body = b"".join(message.get("body", b"") for message in sent).replace(sse.HEARTBEAT, b"")
    *before, error = events_of(body)
    assert before == EVENTS[after + 1 : 6]
    assert (error["type"], error["error"]["code"]) == ("error", "database_unavailable")
    assert error["sequence_number"] == before[-1]["sequence_number"] == 5


class Log:
    """The database of one response whose run is in this process, and how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.id = ids.new_run_id()
        self.asked = 0
        self._batches: list[tuple[int, str]] = []
        self._is_open = True
        supervisor = SimpleNamespace(runs={self.id: None})
        for module in (following, lost):
            monkeypatch.setattr(module, "current_supervisor", lambda: supervisor)
        monkeypatch.setattr(following, "read", self._read)

    async def _read(self, ask: Callable[..., Piece], response_id: uuid.UUID, after: int) -> Piece:
        assert (ask, response_id) == (following._piece, self.id)
        self.asked += 1
        return Piece(*following._behind(self._batches, after), is_open=self._is_open)

    def write(self, *numbers: int, told: bool = True) -> None:
        frames = "".join(f"event: {number}\n\n" for number in numbers)
        self._batches.append((numbers[0], frames))
        announce(self.id, FramesRecord(id=self.id, status="in_progress", first_number=numbers[0], frames=frames))
        if not told:
            announce(self.id)

    def end(self) -> None:
        self._is_open = False
        announce(self.id)


async def numbers_of(stream: AsyncGenerator[bytes, None], until: int | None = None) -> list[int]:
    """The events that come, until one comes, or the end."""
    found: list[int] = []
    async with asyncio.timeout(5):
        async for data in stream:
            if data is sse.DONE:
                return found
            found += [int(event.removeprefix(b"event: ")) for event in data.split(b"\n\n")[:-1]]
            if until is not None and found[-1] >= until:
                return found
    raise AssertionError("it has no end")


async def test_who_follows_in_the_runs_own_process_does_not_ask_for_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch)
    log.write(0, 1)
    async with aclosing(follow(log.id, -1)) as stream:
        assert await numbers_of(stream, until=1) == [0, 1]
        for number in range(2, 100):
            log.write(number)
            assert await numbers_of(stream, until=number) == [number]
        assert log.asked == 1
        log.end()
        assert await numbers_of(stream) == []
        assert log.asked == 2


@pytest.mark.parametrize("after", [-1, 0, 3, 5])
async def test_he_misses_no_event_and_hears_none_twice(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch)
    log.write(0, 1, 2)
    async with aclosing(follow(log.id, after)) as stream:
        heard = asyncio.ensure_future(numbers_of(stream))
        for numbers, told in (((3, 4), True), ((5,), False), ((6, 7, 8), True), ((9,), True)):
            await asyncio.sleep(0)
            log.write(*numbers, told=told)
        log.end()
        assert await heard == list(range(after + 1, 10))


async def test_not_all_is_held_in_memory_for_one_who_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_MOST_TOLD", 100)
    log = Log(monkeypatch)
    log.write(0)
    async with aclosing(follow(log.id, -1)) as stream:
        assert await numbers_of(stream, until=0) == [0]
        for number in range(1, 50):
            log.write(number)
        (listener,) = following._listeners[log.id]
        assert listener._size <= 100
        log.end()
        assert await numbers_of(stream) == list(range(1, 50))
