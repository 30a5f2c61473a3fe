"""Raw reasoning by the name that whoever listens knows."""

from typing import Any

import pytest

from gateway_project.agents.events import AgentEvent, Finish, ReasoningDelta, TextDelta
from responses.dialect import Dialect, dialect_of, retold
from responses.encoder import ResponseStreamEncoder
from tests import spec
from tests.responses.reader import events_of
from tests.responses.scenarios import completed, resource

HOSTILE = 'event: response.reasoning.delta\ndata: {"type":"response.reasoning.delta"'


def frames(dialect: Dialect) -> bytes:
    said: list[AgentEvent] = [
        ReasoningDelta("Hm"),
        ReasoningDelta(HOSTILE),
        ReasoningDelta("So.", summary=True),
        TextDelta(HOSTILE),
    ]
    encoder = ResponseStreamEncoder(resource(), dialect)
    told = [encoder.event(event) for event in (*said, Finish())]
    return b"".join([encoder.open(), *told, encoder.close(completed())])


@pytest.mark.compliance("OpenAI Responses", "response.reasoning_text.delta")
def test_official_clients_hear_openais_names() -> None:
    events = events_of(frames(Dialect.OPENAI))
    reasoning = [event for event in events if "reasoning_text" in event["type"]]
    assert [event["type"] for event in reasoning] == [
        "response.reasoning_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
    ]
    for event, schema in zip(reasoning, ("Delta", "Delta", "Done"), strict=True):
        assert spec.faults(spec.OPENAI_RESPONSES, f"ResponseReasoningText{schema}Event", event) == []


@pytest.mark.parametrize("kept", Dialect)
@pytest.mark.parametrize("asked", Dialect)
def test_what_is_kept_is_told_again_in_either(kept: Dialect, asked: Dialect) -> None:
    assert _but_for_time(retold(frames(kept).decode(), asked)) == _but_for_time(frames(asked).decode())


@pytest.mark.parametrize(
    ("headers", "dialect"),
    [([], Dialect.OPEN_RESPONSES), ([(b"x-stainless-lang", b"js")], Dialect.OPENAI)],
)
def test_official_clients_are_known_by_their_header(headers: list[Any], dialect: Dialect) -> None:
    assert dialect_of({"headers": [(b"host", b"x"), *headers]}) is dialect


def _but_for_time(stream: str) -> list[Any]:
    """The events, without when the response was completed."""
    return [event | {"response": None} for event in events_of(stream.encode())]
