"""What a WebSocket says, as far as it shows without a connection: frames, memory, the handshake."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import Finish, TextDelta, TokenLogprob, Usage
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.socket import Socket, error_frame
from gateway_project.transport.socket_consumer import with_key_of_subprotocol
from responses.encoder import ResponseBuilder
from responses.intake import ResponseIntake
from responses.memory import remember
from responses.resource import ResponseResource
from responses.schema import ResponseRequest
from responses.socket_outlet import SocketOutlet
from tests import spec

USAGE = Usage(1, 1)
COMPLETED = Completed({0: "stop"}, USAGE)


class Line:
    """The server's side: remembers what was sent, and lets its reader read as the test likes."""

    def __init__(self, *, flushed: bool = True) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.flushes = asyncio.Event()
        self.flushes.set()
        self.flushed = flushed
        self.is_cut = False

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)
        await self.reads.wait()

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]

    def serve_gateway(self, message_bytes: int) -> None:
        raise AssertionError("the handshake is over")

    async def wait_until_flushed(self) -> bool:
        await self.flushes.wait()
        return self.flushed

    def unsent(self) -> int:
        return 0

    def cut(self) -> None:
        self.is_cut = True


class Keeper:
    """Remembers what had been sent when it kept the answer."""

    keeps_stream = False

    def __init__(self, line: Line) -> None:
        self.line = line
        self.had_been_sent: list[str] = []

    def take(self, data: bytes) -> None:
        raise AssertionError

    async def room(self) -> None:
        raise AssertionError

    async def finish(self, data: bytes) -> bool:
        self.had_been_sent = [frame["type"] for frame in self.line.frames]
        return True

    def abandon(self, data: bytes) -> None:
        raise AssertionError


def outlet_to(line: Line, *, stall_seconds: float | None = None, keeper: Keeper | None = None) -> SocketOutlet:
    request = ResponseRequest.parse({"model": "scripted/echo", "input": "x"})
    builder = ResponseBuilder(ResponseResource(request, ids.new_run_id(), 1))
    socket = Socket(line.send, stall_seconds=stall_seconds, server=line)
    return SocketOutlet(socket, builder, keeper, parameter_names=ResponseIntake.parameter_names)


async def test_every_event_is_one_frame() -> None:
    line = Line()
    outlet = outlet_to(line)
    await outlet.write(TextDelta("a"))
    await outlet.write(Finish("stop"))
    assert await outlet.end(COMPLETED)
    assert [frame["sequence_number"] for frame in line.frames] == list(range(len(line.frames)))
    assert line.frames[-1]["type"] == "response.completed"
    assert outlet.stats.bytes == sum(len(message["text"].encode()) for message in line.sent)
    assert (outlet.stats.events, outlet.stats.http_status) == (2, 200)


@pytest.mark.parametrize("flushed", [True, False])
async def test_delivered_means_that_the_kernel_has_all_of_it(flushed: bool) -> None:
    outlet = outlet_to(Line(flushed=flushed))
    await outlet.write(TextDelta("a"))
    assert await outlet.end(COMPLETED) is flushed


async def test_the_answer_is_kept_before_its_client_hears_of_the_end() -> None:
    line = Line()
    keeper = Keeper(line)
    outlet = outlet_to(line, keeper=keeper)
    await outlet.write(TextDelta("a"))
    await outlet.end(COMPLETED)
    assert keeper.had_been_sent == [frame["type"] for frame in line.frames][: len(keeper.had_been_sent)]
    assert "response.completed" not in keeper.had_been_sent


@pytest.mark.parametrize(
    "result", [Failed(AgentError("no", code="broken", status=502), USAGE), Aborted(AbortCause.TIMEOUT, USAGE)]
)
async def test_a_failure_is_an_error_frame_only_where_no_event_came_before(result: Failed | Aborted) -> None:
    line = Line()
    outlet = outlet_to(line)
    assert await outlet.end(result)
    [frame] = line.frames
    assert spec.faults(spec.OPEN_RESPONSES, "WebSocketErrorEvent", frame) == []
    assert outlet.stats.http_status == frame["status"]
    begun = Line()
    outlet = outlet_to(begun)
    await outlet.write(TextDelta("a"))
    await outlet.end(result)
    assert begun.frames[-1]["type"] == "response.failed"


async def test_an_error_names_the_parameter_as_responses_do() -> None:
    line = Line()
    await outlet_to(line).end(Failed(AgentError("no", param="response_format", status=400), USAGE))
    assert line.frames[0]["error"]["param"] == "text.format"


async def test_an_answer_that_cannot_be_told_is_told_as_such_and_fails() -> None:
    line = Line()
    outlet = outlet_to(line)
    token = TokenLogprob("a", -1.0, (float("nan"),))  # type: ignore[arg-type]  # as an agent may all the same
    with pytest.raises(ValueError, match="JSON"):
        await outlet.write(TextDelta("a", logprobs=(token,)))
    with pytest.raises(ValueError, match="JSON"):
        await outlet.end(COMPLETED)
    assert (line.frames[-1]["type"], line.frames[-1]["status"]) == ("error", 500)
    assert outlet.over.done()


async def test_after_the_last_word_nothing_is_written() -> None:
    line = Line()
    outlet = outlet_to(line)
    line.reads.clear()
    writing = asyncio.ensure_future(outlet.write(TextDelta("a")))
    late = asyncio.ensure_future(outlet.write(TextDelta("b")))
    ending = asyncio.ensure_future(outlet.end(Aborted(AbortCause.OPERATOR_CANCELLED, USAGE)))
    await asyncio.sleep(0)
    line.reads.set()
    await asyncio.gather(writing, late, ending)
    assert line.frames[-1]["type"] == "response.failed"
    assert "b" not in [frame.get("delta") for frame in line.frames]
    assert outlet.over.done()
    assert await outlet.end(COMPLETED) is False


@pytest.mark.parametrize("is_handed_over", [True, False])
async def test_a_last_word_that_is_cancelled_hangs_up_unless_all_of_it_is_on_its_way(is_handed_over: bool) -> None:
    line = Line()
    outlet = outlet_to(line)
    await outlet.write(TextDelta("a"))
    (line.flushes if is_handed_over else line.reads).clear()
    ending = asyncio.ensure_future(outlet.end(COMPLETED))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    assert (line.frames[-1]["type"] == "response.completed", line.is_cut) == (is_handed_over, not is_handed_over)
    assert outlet.over.done()


async def test_a_stuck_reader_is_given_up_and_cut() -> None:
    line = Line()
    outlet = outlet_to(line, stall_seconds=0.05)
    causes: list[AbortCause] = []
    outlet._socket.on_lost = causes.append
    line.reads.clear()
    await outlet.write(TextDelta("a"))
    assert (causes, line.is_cut) == ([AbortCause.SLOW_READER], True)
    assert len(line.sent) == 1, "the first frame is the last"


async def test_the_code_of_an_error_is_never_null() -> None:
    for error in (AgentError("x"), AgentError("x", code="y", param="z")):
        assert spec.faults(spec.OPEN_RESPONSES, "WebSocketErrorEvent", error_frame(error)) == []


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_a_handshake_is_refused_as_well_as_the_server_can(extensions: dict[str, Any]) -> None:
    line = Line()
    await Socket(line.send).refuse(AgentError("no", status=503, retry_after=1), [(b"x-a", b"b")], extensions=extensions)
    if not extensions:
        assert line.sent == [{"type": "websocket.close"}]
        return
    start, body = line.sent
    assert start["status"] == 503
    assert {(b"retry-after", b"1"), (b"x-a", b"b")} <= set(start["headers"])
    assert json.loads(body["body"])["error"]["code"] == "agent_error"


def test_a_key_that_came_as_a_subprotocol_does_not_replace_one_in_the_headers() -> None:
    offered = {"subprotocols": ["a", "openai-insecure-api-key.k"]}
    assert with_key_of_subprotocol({"headers": [], **offered})["headers"] == [(b"authorization", b"Bearer k")]
    own = {"headers": [(b"authorization", b"Bearer own")], **offered}
    assert with_key_of_subprotocol(own) is own
    assert with_key_of_subprotocol({"headers": [], "subprotocols": ["a"]})["headers"] == []


def test_a_conversation_that_no_message_could_hold_is_not_remembered() -> None:
    first = remember("resp_1", [{"a": "x" * 40}], after=None, at_most=100)
    assert first is not None
    second = remember("resp_2", [{"a": "y" * 30}], after=first, at_most=100)
    assert second is not None
    assert [item["a"][0] for item in second.items] == ["x", "y"]
    assert remember("resp_3", [{"a": "z"}], after=second, at_most=100) is None
