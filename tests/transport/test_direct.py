"""The direct outlet: statuses before the first byte, heartbeats in silence, one last word, one writer at a time."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, TextDelta, Usage
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection
from gateway_project.transport.direct import DirectOutlet
from gateway_project.transport.encoder import BodyEncoder, StreamEncoder

USAGE = Usage(1, 1)
COMPLETED = Completed({0: "stop"}, USAGE)
FAILED = Failed(AgentError("full", code="full", status=429, retry_after=3), USAGE)


class Server:
    """An ASGI server's ``send`` that remembers, suspends (as some do), and can be full or gone."""

    def __init__(self) -> None:
        self.messages: list[Mapping[str, Any]] = []
        self.room = asyncio.Event()
        self.room.set()
        self.is_gone = False

    async def send(self, message: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.is_gone:
            raise ConnectionResetError
        self.messages.append(message)
        await self.room.wait()

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.messages if m["type"] == "http.response.body")

    @property
    def status(self) -> int:
        [start] = [m for m in self.messages if m["type"] == "http.response.start"]
        return int(start["status"])

    @property
    def is_complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False


class Shouting(StreamEncoder):
    """Every text as it is, between an opening and a close."""

    def open(self) -> bytes:
        return b"<"

    def event(self, event: AgentEvent) -> bytes:
        return event.text.encode() if isinstance(event, TextDelta) else b""

    def close(self, result: object) -> bytes:
        if isinstance(result, Completed) and result.usage.input_tokens == 13:
            raise ValueError("unlucky")
        return b">" + type(result).__name__.encode()


class Whole(BodyEncoder):
    """All texts in one."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, event: AgentEvent) -> None:
        if isinstance(event, TextDelta):
            self.texts.append(event.text)

    def body(self, result: Completed) -> bytes:
        if result.usage.input_tokens == 13:
            raise ValueError("unlucky")
        return "".join(self.texts).encode()


def make(encoder: StreamEncoder | BodyEncoder, *, heartbeat: float = 0) -> tuple[Server, DirectOutlet]:
    server = Server()
    return server, DirectOutlet(Connection(server.send), encoder, heartbeat_seconds=heartbeat)


async def test_a_stream_opens_with_its_first_event() -> None:
    server, outlet = make(Shouting())
    await outlet.write(USAGE)
    assert server.messages == []
    await outlet.write(TextDelta("a"))
    assert (server.status, server.body) == (200, b"<a")
    assert await outlet.end(COMPLETED)
    assert server.body == b"<a>Completed"
    assert server.is_complete
    assert (outlet.stats.events, outlet.stats.bytes, outlet.stats.http_status) == (2, 12, 200)


@pytest.mark.parametrize("encoder", [Shouting(), Whole()])
async def test_what_fails_before_the_first_byte_is_a_status(encoder: StreamEncoder | BodyEncoder) -> None:
    server, outlet = make(encoder)
    assert await outlet.end(FAILED)
    assert server.status == 429
    assert (b"retry-after", b"3") in server.messages[0]["headers"]
    assert b'"code":"full"' in server.body


async def test_what_fails_later_is_said_in_the_stream() -> None:
    server, outlet = make(Shouting())
    await outlet.write(TextDelta("a"))
    await outlet.end(Aborted(AbortCause.TIMEOUT, USAGE))
    assert server.body == b"<a>Aborted"


async def test_a_plain_answer_goes_out_whole_and_counts_as_sent_only_then() -> None:
    server, outlet = make(Whole())
    await outlet.write(TextDelta("a"))
    await outlet.write(TextDelta("b"))
    assert (server.messages, outlet.stats.events) == ([], 0)
    assert await outlet.end(COMPLETED)
    assert (server.status, server.body, outlet.stats.events) == (200, b"ab", 2)


async def test_there_is_one_last_word() -> None:
    server, outlet = make(Shouting())
    await outlet.write(TextDelta("a"))
    first, second = await asyncio.gather(outlet.end(COMPLETED), outlet.end(FAILED))
    assert (first, second) == (True, False)
    await outlet.write(TextDelta("late"))
    assert server.body == b"<a>Completed"


async def test_nothing_is_written_to_a_client_that_is_gone() -> None:
    server, outlet = make(Shouting())
    outlet.gone(Aborted(AbortCause.CLIENT_DISCONNECT, USAGE))
    await outlet.write(TextDelta("a"))
    assert not await outlet.end(COMPLETED)
    assert server.messages == []
    assert outlet.stats.http_status is None


async def test_a_client_that_leaves_during_the_last_word_did_not_get_it() -> None:
    server, outlet = make(Shouting())
    await outlet.write(TextDelta("a"))
    server.is_gone = True
    assert not await outlet.end(COMPLETED)


@pytest.mark.parametrize("is_handed_over", [True, False])
async def test_a_last_word_that_is_cancelled_hangs_up_unless_all_of_it_is_on_its_way(is_handed_over: bool) -> None:
    server = Server()
    connection = Connection(server.send)
    outlet = DirectOutlet(connection, Shouting(), heartbeat_seconds=0)
    await outlet.write(TextDelta("a"))
    server.room.clear()
    writing = asyncio.ensure_future(asyncio.sleep(0) if is_handed_over else outlet.write(TextDelta("b")))
    await asyncio.sleep(0.01)
    ending = asyncio.ensure_future(outlet.end(COMPLETED))
    await asyncio.sleep(0.01)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    assert (server.is_complete, connection.is_lost) == (is_handed_over, not is_handed_over)
    server.room.set()
    await writing


async def test_silence_is_filled_with_heartbeats_once_the_agent_was_called() -> None:
    server, outlet = make(Shouting(), heartbeat=0.01)
    await asyncio.sleep(0.03)
    assert server.messages == [], "a queued run has no heartbeat: it may still become a status"
    outlet.started()
    async with asyncio.timeout(30):
        while server.body.count(b": heartbeat\n\n") < 3:  # noqa: ASYNC110 (of heartbeats there is no event)
            await asyncio.sleep(0.005)
    assert server.body.startswith(b"<: heartbeat\n\n")
    await outlet.end(FAILED)
    assert server.body.endswith(b">Failed")
    said = server.body
    await asyncio.sleep(0.03)
    assert server.body == said, "no heartbeat after the end"


async def test_a_plain_answer_has_no_heartbeat() -> None:
    server, outlet = make(Whole(), heartbeat=0.005)
    outlet.started()
    await asyncio.sleep(0.03)
    assert server.messages == []
    await outlet.end(COMPLETED)


async def test_a_heartbeat_never_comes_between_a_status_and_its_body() -> None:
    server, outlet = make(Shouting(), heartbeat=0.01)
    outlet._beat()
    await outlet.end(FAILED)
    await asyncio.sleep(0.02)
    assert [message["type"] for message in server.messages] == ["http.response.start", "http.response.body"]
    assert server.status == 429


async def test_a_reader_that_does_not_read_holds_the_writer_up() -> None:
    server, outlet = make(Shouting())
    server.room.clear()
    writing = asyncio.ensure_future(outlet.write(TextDelta("a")))
    await asyncio.sleep(0.01)
    assert not writing.done()
    server.room.set()
    await writing


@pytest.mark.parametrize("started", [True, False])
async def test_an_answer_that_cannot_be_encoded_is_told_to_the_client(started: bool) -> None:
    server, outlet = make(Shouting() if started else Whole())
    await outlet.write(TextDelta("a"))
    with pytest.raises(ValueError, match="unlucky"):
        await outlet.end(Completed({0: "stop"}, Usage(13, 0)))
    assert server.status == (200 if started else 500)
    assert b'"code":"internal_error"' in server.body
    assert server.body.endswith(sse.DONE) is started
    assert server.is_complete


async def test_an_error_names_the_endpoints_own_parameter() -> None:
    names = {"response_format": "text.format"}
    for param, told in (("response_format", "text.format"), ("tools", "tools")):
        server = Server()
        outlet = DirectOutlet(Connection(server.send), Whole(), heartbeat_seconds=0, parameter_names=names)
        await outlet.end(Failed(AgentError("no", param=param, status=400), USAGE))
        assert (server.status, json.loads(server.body)["error"]["param"]) == (400, told)
