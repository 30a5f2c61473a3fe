"""What a burst becomes is what its events become one after the other, byte for byte."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from completions.encoder import ChatStreamEncoder
from gateway_project import ids
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway_project.execution.outlet import OutletStats, writer_to
from gateway_project.transport.connection import Connection
from gateway_project.transport.direct import DirectOutlet
from gateway_project.transport.encoder import StreamEncoder
from responses.encoder import ResponseStreamEncoder
from responses.resource import ResponseResource
from responses.schema import ResponseRequest

RUN_ID = ids.new_run_id()
TEXTS = ("a", " b", "ü", '"', "\\", "\n", "\x00", "\ud800", "\U0001f600", "text", '"text"', "0", '","delta":"', "")


def chat() -> StreamEncoder:
    return ChatStreamEncoder(RUN_ID, 'text"text', 1, include_usage=True)


def responses() -> StreamEncoder:
    request = ResponseRequest.parse({"model": 'text"text', "input": "hi", "stream": True})
    return ResponseStreamEncoder(ResponseResource(request, RUN_ID, 1))


def some_event(source: random.Random) -> AgentEvent:
    text = source.choice(TEXTS)
    odd: list[AgentEvent] = [
        TextDelta(text, choice=1),
        TextDelta(text, logprobs=(TokenLogprob(text, -0.5),)),
        ReasoningDelta(text or "r"),
        RefusalDelta(text or "no"),
        MessagePhase("commentary"),
        ToolCall("call", "f", "{}"),
        Usage(1, 2),
    ]
    return source.choice(odd) if source.random() < 0.08 else TextDelta(text)


async def said_in_bursts(encoder: StreamEncoder, events: list[AgentEvent], source: random.Random) -> bytes:
    sent = Sent()
    outlet, left = DirectOutlet(Connection(sent), encoder, heartbeat_seconds=0), events
    while left:
        size = source.randint(1, 12)
        burst, left = left[:size], left[size:]
        await outlet.write_burst(burst)
    assert outlet.stats.events == len(events)
    return b"".join(sent.parts)


@pytest.mark.parametrize("make", [chat, responses])
@pytest.mark.parametrize("seed", range(40))
async def test_bursts_say_what_their_events_say(make: Callable[[], StreamEncoder], seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 (no secret)
    events = [*(some_event(source) for _ in range(150)), Finish(), TextDelta("behind the end")]
    one_by_one = make()
    said = one_by_one.open() + b"".join(map(one_by_one.event, events))
    assert await said_in_bursts(make(), events, source) == said


@pytest.mark.parametrize("make", [chat, responses])
def test_plain_text_does_take_the_short_way(make: Callable[[], StreamEncoder]) -> None:
    encoder = make()
    encoder.event(TextDelta("first"))
    assert encoder.burst([TextDelta("a"), TextDelta("b")])


class Sent:
    """The server's side of a connection."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def __call__(self, message: object) -> None:
        assert isinstance(message, dict)
        if message["type"] == "http.response.body":
            self.parts.append(message["body"])


@pytest.mark.parametrize("make", [chat, responses])
async def test_what_stands_around_the_text_does_not_make_its_way_longer(make: Callable[[], StreamEncoder]) -> None:
    encoder = make()
    taken: list[int] = []

    def burst(events: Sequence[AgentEvent]) -> bytes | None:
        found = of_encoder(events)
        taken.append(0 if found is None else len(events))
        return found

    of_encoder, encoder.burst = encoder.burst, burst  # type: ignore[method-assign]
    outlet = DirectOutlet(Connection(Sent()), encoder, heartbeat_seconds=0)
    text = [TextDelta(f"{number}") for number in range(20)]
    await outlet.write_burst([ReasoningDelta("r"), *text, Finish(), Usage(1, 2)])
    assert taken in ([0, 19], [20])
    with_odds = [TextDelta("odd", logprobs=(TokenLogprob("odd", -0.5),)) for _ in range(20)]
    await outlet.write_burst(with_odds)
    assert taken[-2:] == [0, 0], "and what has no short way is not asked for it again and again"
    assert outlet.stats.events == 43


@pytest.mark.parametrize("make", [chat, responses])
async def test_a_burst_is_one_part(make: Callable[[], StreamEncoder]) -> None:
    sent = Sent()
    outlet = DirectOutlet(Connection(sent), make(), heartbeat_seconds=0)
    await outlet.write_burst([TextDelta("a"), TextDelta("b"), TextDelta("c")])
    await outlet.write_burst([TextDelta("d"), TextDelta("e")])
    assert len(sent.parts) == 2
    assert outlet.stats.events == 5
    assert outlet.stats.bytes == sum(map(len, sent.parts))


class FullKeeper:
    """Has no room until it is given some."""

    keeps_stream = True

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.has_room = asyncio.Event()

    def take(self, data: bytes) -> None:
        self.taken.append(data)

    async def room(self) -> None:
        await self.has_room.wait()


@pytest.mark.parametrize("make", [chat, responses])
@pytest.mark.parametrize("short_way", [True, False])
async def test_a_burst_waits_for_room_where_the_answer_is_kept(
    make: Callable[[], StreamEncoder], short_way: bool
) -> None:
    sent, keeper = Sent(), FullKeeper()
    outlet = DirectOutlet(Connection(sent), make(), heartbeat_seconds=0, keeper=keeper)  # type: ignore[arg-type]
    keeper.has_room.set()
    if short_way:
        await outlet.write(TextDelta("first"))
    keeper.has_room.clear()
    writing = asyncio.ensure_future(outlet.write_burst([TextDelta("a"), TextDelta("b")]))
    await asyncio.sleep(0.01)
    assert not writing.done()
    keeper.has_room.set()
    await writing
    assert b"".join(keeper.taken) == b"".join(sent.parts)


async def test_an_outlet_that_knows_no_bursts_gets_event_after_event() -> None:
    class Plain:
        stats = OutletStats()
        written: list[AgentEvent] = []

        async def write(self, event: AgentEvent) -> None:
            self.written.append(event)

    plain = Plain()
    await writer_to(plain)([TextDelta("a"), TextDelta("b")])  # type: ignore[arg-type]  # all that is called
    assert plain.written == [TextDelta("a"), TextDelta("b")]
