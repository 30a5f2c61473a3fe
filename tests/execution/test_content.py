"""The log of a run's content: nothing where nothing is kept, bounded where something is."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway_project import clock, ids
from gateway_project.agents.events import AgentEvent, ReasoningDelta, TextDelta, ToolCall, Usage
from gateway_project.agents.request import AgentRequest, Message, Sampling, TextPart
from gateway_project.conf import GatewaySettings
from gateway_project.execution.content import ContentLog, log
from gateway_project.execution.content.answered import Answer
from gateway_project.execution.content.asked import as_plain
from gateway_project.execution.content.log import ListenedOutlet
from gateway_project.runs.content.cutter import MARGIN
from gateway_project.runs.content.record import ContentRecord, KeepContent
from gateway_project.runs.journal import Change
from tests.execution.stage import RememberingOutlet
from tests.runs.records import make_record

SALT = bytes(16)


def request(text: str = "hello") -> AgentRequest:
    return AgentRequest(run_id=ids.new_run_id(), model="m", messages=(Message("user", (TextPart(text),)),))


def test_a_run_of_the_mode_none_has_no_log() -> None:
    assert ContentLog.of(make_record(), request(), GatewaySettings()) is None
    assert ContentLog.of(make_record(parameters={"content": "full"}), request(), GatewaySettings()) is not None


def test_what_is_asked_is_told_without_the_defaults() -> None:
    assert as_plain(request()) == {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    }
    plain = as_plain(
        AgentRequest(
            run_id=ids.new_run_id(),
            model="m",
            messages=(),
            sampling=Sampling(temperature=0.0),
            parallel_tool_calls=False,
            stop=("x",),
        )
    )
    assert plain == {
        "model": "m",
        "messages": [],
        "sampling": {"temperature": 0.0},
        "parallel_tool_calls": False,
        "stop": ["x"],
    }


def test_however_long_an_answer_is_little_of_it_is_held() -> None:
    answer = Answer(most=100, salt=SALT)
    for _ in range(10_000):
        answer.generated(TextDelta("x" * 100))
        answer.generated(ReasoningDelta("y"))
        answer.generated(ToolCall("c", "n", "{}", choice=1))
    pieces = answer.pieces()
    assert len(pieces) <= 500
    assert sum(len(piece.text) for piece in pieces) <= 100 + MARGIN
    assert sum(piece.characters for piece in pieces) == 10_000 * (100 + 1 + 2)
    assert len(answer._pending) <= 1000


def test_pieces_are_joined_by_choice_and_what_says_nothing_is_none() -> None:
    answer = Answer(most=100, salt=SALT)
    events: list[AgentEvent] = [
        TextDelta("a", choice=1),
        TextDelta("b"),
        Usage(1, 1),
        TextDelta("c", choice=1),
        TextDelta("d"),
    ]
    for event in events:
        answer.generated(event)
        answer.handed_on(event, left=event is not events[-1])
    assert [(piece.about, piece.text, piece.delivered) for piece in answer.pieces()] == [
        ({"type": "text", "choice": 1}, "ac", 2),
        ({"type": "text"}, "bd", 1),
    ]
    answer.all_delivered()
    assert [piece.delivered for piece in answer.pieces()] == [2, 2]


class Bursts(RememberingOutlet):
    """Counts what is written at once; a burst that has a text with a "?" cannot be said."""

    def __init__(self) -> None:
        super().__init__()
        self.bursts: list[int] = []

    async def write_burst(self, events: Sequence[AgentEvent]) -> None:
        self.bursts.append(len(events))
        self.stats.bytes += 1
        if any(isinstance(event, TextDelta) and "?" in event.text for event in events):
            raise ValueError("cannot be said")


async def test_a_burst_stays_one() -> None:
    answer, outlet = Answer(most=100, salt=SALT), Bursts()
    listened = ListenedOutlet(outlet, answer)
    for texts in ("abc", "de"):
        events = [TextDelta(text) for text in texts]
        for event in events:
            answer.generated(event)
        await listened.write_burst(events)
    assert outlet.bursts == [3, 2]
    assert [(piece.text, piece.delivered) for piece in answer.pieces()] == [("abcde", 5)]


async def test_of_a_burst_that_cannot_be_said_nothing_counts_as_delivered() -> None:
    answer = Answer(most=100, salt=SALT)
    listened = ListenedOutlet(Bursts(), answer)
    events = [TextDelta("a"), TextDelta("?")]
    for event in events:
        answer.generated(event)
    with pytest.raises(ValueError, match="cannot be said"):
        await listened.write_burst(events)
    assert [(piece.text, piece.delivered) for piece in answer.pieces()] == [("a?", 0)]


async def test_what_comes_at_once_is_handed_on_piece_by_piece_where_that_makes_no_difference() -> None:
    answer, outlet = Answer(most=100, salt=SALT), RememberingOutlet()
    events = [TextDelta("a"), TextDelta("b")]
    await ListenedOutlet(outlet, answer).write_burst(events)
    assert outlet.events == events


async def test_what_waits_for_a_database_that_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_WAITING", 1000)
    kept: list[KeepContent] = []
    futures: list[asyncio.Future[object]] = []

    def submit(change: Change) -> "asyncio.Future[object]":
        assert isinstance(change, KeepContent)
        kept.append(change)
        futures.append(asyncio.get_running_loop().create_future())
        return futures[-1]

    def end() -> str:
        found = ContentLog.of(make_record(parameters={"content": "full"}), request("x" * 600), GatewaySettings())
        assert found is not None
        found.hand_over(submit)
        return kept[-1].record.request

    assert "xxx" in end()
    assert end() == ""
    assert "Too much content waited" in kept[-1].record.remarks
    assert kept[-1].record.request_digest
    futures[0].set_result(None)
    await asyncio.sleep(0)
    assert "xxx" in end()
    futures[-1].set_result(None)
    await asyncio.sleep(0)


def test_it_is_made_once_and_before_the_transaction() -> None:
    made: list[ContentRecord] = []

    def make() -> ContentRecord:
        made.append(ContentRecord(run_id=ids.new_run_id(), at=clock.now(), mode="full"))
        return made[-1]

    change = KeepContent(make)
    change.prepare()
    assert [change.record, change.record] == [made[0], made[0]]
    assert len(made) == 1
