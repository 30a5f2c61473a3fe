"""The script ``judge`` does all that a request may ask of an agent."""

import json
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway_project.agents.errors import AgentError, UnsupportedRequest
from gateway_project.agents.events import AgentEvent, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from gateway_project.agents.request import (
    FunctionTool,
    Message,
    RequestedToolCall,
    ResponseFormat,
    TextPart,
    ToolChoice,
)
from gateway_project.agents.scripted import ScriptedAgent
from tests.agents.asking import ask, request_for, text_of

AGENT = ScriptedAgent("scripted", {})
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
WEATHER = FunctionTool("weather", parameters=PLACE)
CLOCK = FunctionTool("clock")


def _said(role: Any, text: str, **more: Any) -> Message:
    return Message(role, (TextPart(text),), **more)


ASKED = (
    _said("user", "Weather?"),
    Message("assistant", tool_calls=(RequestedToolCall("a", "weather", "{}"), RequestedToolCall("b", "weather", "{}"))),
    _said("tool", "sunny", tool_call_id="a"),
    _said("tool", "windy", tool_call_id="b"),
)


def _call(events: list[AgentEvent]) -> tuple[str | None, Any]:
    first, *pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    return first.name, json.loads("".join(piece.arguments for piece in pieces))


async def test_it_answers_with_what_was_said() -> None:
    events = await ask(AGENT, "judge", "Say  hello.")
    assert text_of(events) == "You said: Say  hello."
    assert events[-2:] == [Usage(input_tokens=2, output_tokens=4), Finish("stop")]


async def test_the_first_tool_is_called_with_valid_arguments() -> None:
    events = await ask(AGENT, "judge", tools=(WEATHER, CLOCK))
    name, arguments = _call(events)
    assert (name, arguments) == ("weather", {"city": "text"})
    Draft202012Validator(PLACE).validate(arguments)
    assert text_of(events) == ""
    assert events[-2:] == [Usage(input_tokens=2, output_tokens=2), Finish("tool_calls")]


@pytest.mark.parametrize("choice", [ToolChoice("function", "clock"), ToolChoice("required")], ids=lambda c: c.mode)
async def test_a_forced_tool_is_called_even_after_a_result(choice: ToolChoice) -> None:
    events = await ask(AGENT, "judge", messages=ASKED, tools=(WEATHER, CLOCK), tool_choice=choice)
    assert _call(events) == (("clock", {}) if choice.name else ("weather", {"city": "text"}))


async def test_results_are_quoted_in_their_order() -> None:
    assert text_of(await ask(AGENT, "judge", messages=ASKED, tools=(WEATHER,))) == "The tool said: sunny, windy"


async def test_a_new_question_after_a_result_calls_again() -> None:
    events = await ask(AGENT, "judge", messages=(*ASKED, _said("user", "And now?")), tools=(WEATHER,))
    assert _call(events)[0] == "weather"


async def test_no_tool_is_called_where_none_may_be() -> None:
    events = await ask(AGENT, "judge", "Hi", tools=(WEATHER,), tool_choice=ToolChoice("none"))
    assert text_of(events) == "You said: Hi"


@pytest.mark.parametrize("messages", [(_said("user", "Hi"),), ASKED], ids=["at once", "after a result"])
async def test_the_answer_is_an_instance_of_the_schema(messages: tuple[Message, ...]) -> None:
    wanted = ResponseFormat("json_schema", "place", PLACE)
    events = await ask(AGENT, "judge", messages=messages, response_format=wanted)
    Draft202012Validator(PLACE).validate(json.loads(text_of(events)))


async def test_the_answer_is_some_json_object() -> None:
    events = await ask(AGENT, "judge", 'Say "hi".', response_format=ResponseFormat("json_object"))
    assert json.loads(text_of(events)) == {"answer": 'You said: Say "hi".'}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": ResponseFormat("json_schema", "never", {"not": {}})}, "response_format"),
        ({"tools": (FunctionTool("never", parameters={"type": "string"}),)}, "tools"),
    ],
)
async def test_a_schema_without_an_instance_is_an_error(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(AgentError) as caught:
        await ask(AGENT, "judge", **fields)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_json_schema", param)


async def test_it_may_take_its_time() -> None:
    before = time.monotonic()
    assert text_of(await ask(AGENT, "judge-10ms", "Hi")) == "You said: Hi"
    assert time.monotonic() - before >= 0.03


@pytest.mark.parametrize("wanted", ["json_object", "json_schema"])
def test_only_the_judge_knows_json(wanted: Any) -> None:
    asked = ResponseFormat(wanted, schema={})
    AGENT.check_request(request_for("judge", response_format=asked))
    AGENT.check_request(request_for("judge-10ms", response_format=asked))
    with pytest.raises(UnsupportedRequest) as caught:
        AGENT.check_request(request_for("echo", response_format=asked))
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("summary", [None, "auto"])
async def test_an_effort_makes_it_reason_first(summary: str | None) -> None:
    events = await ask(AGENT, "judge", "Hi", reasoning_effort="low", reasoning_summary=summary)
    thoughts = [event for event in events if isinstance(event, ReasoningDelta)]
    assert thoughts == events[: len(thoughts)]
    assert "".join(event.text for event in thoughts) == "I read it and answer."
    assert {event.summary for event in thoughts} == {summary is not None}
    assert events[-2] == Usage(input_tokens=1, output_tokens=8, reasoning_tokens=5)


async def test_effort_none_is_no_effort() -> None:
    assert isinstance((await ask(AGENT, "judge", reasoning_effort="none"))[0], TextDelta)


@pytest.mark.parametrize(
    ("limit", "fields", "usage"),
    [
        (3, {}, Usage(2, 3)),
        (1, {"tools": (WEATHER,)}, Usage(2, 1)),
        (3, {"reasoning_effort": "low"}, Usage(2, 3, reasoning_tokens=3)),
        (6, {"reasoning_effort": "low"}, Usage(2, 6, reasoning_tokens=5)),
        (1, {"response_format": ResponseFormat("json_object")}, Usage(2, 1)),
    ],
)
async def test_the_token_limit_stops_all_kinds_of_output(limit: int, fields: dict[str, Any], usage: Usage) -> None:
    events = await ask(AGENT, "judge", max_output_tokens=limit, **fields)
    assert events[-2:] == [usage, Finish("length")]
