"""What agents say and how it ends, and the streams and bodies that become of it."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from gateway_project import ids
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.execution.outlet import Aborted, Completed, Failed, RunResult
from gateway_project.runs.vocabulary import AbortCause
from responses.encoder import ResponseBodyEncoder, ResponseStreamEncoder
from responses.resource import ResponseResource
from responses.schema import ResponseRequest
from tests.responses.reader import Event, events_of, read

RUN_ID = ids.new_run_id()
CREATED_AT = 1_795_521_571
USAGE = Usage(input_tokens=11, output_tokens=7, cached_tokens=3, reasoning_tokens=2)
TOKEN = TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.5),))
FULL_REQUEST: dict[str, Any] = {
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "temperature": 0,
    "top_p": 0.25,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "top_logprobs": 2,
    "reasoning": {"effort": "low", "summary": "auto"},
    "max_output_tokens": 64,
    "max_tool_calls": 3,
    "truncation": "auto",
    "store": True,
    "service_tier": "priority",
    "metadata": {"order": "17"},
    "safety_identifier": "user-1",
    "prompt_cache_key": "cache-1",
}


def completed(reason: Any = "stop") -> Completed:
    return Completed({0: reason}, USAGE)


FAILED = Failed(AgentError("It broke.", code="broken"), USAGE)
CANCELLED = Aborted(AbortCause.OPERATOR_CANCELLED, USAGE)

SCENARIOS: dict[str, tuple[Sequence[AgentEvent], RunResult]] = {
    "text": ([TextDelta("Hel"), TextDelta("lo"), Finish()], completed()),
    "nothing": ([Finish()], completed()),
    "logprobs": ([TextDelta("Hi", logprobs=(TOKEN,)), TextDelta("!"), Finish()], completed()),
    "a refusal": ([RefusalDelta("I can"), RefusalDelta("not."), Finish()], completed()),
    "text and a refusal": ([TextDelta("Well, "), RefusalDelta("no."), TextDelta("Sorry."), Finish()], completed()),
    "raw reasoning": ([ReasoningDelta("Hm"), ReasoningDelta("m."), TextDelta("Yes."), Finish()], completed()),
    "reasoning, told again": (
        [ReasoningDelta("Hmm."), ReasoningDelta("Th", summary=True), ReasoningDelta("ought.", summary=True), Finish()],
        completed(),
    ),
    "reasoning between texts": ([TextDelta("a"), ReasoningDelta("b", summary=True), TextDelta("c")], completed()),
    "a call in pieces": (
        [ToolCallDelta(0, call_id="call_1", name="weather"), ToolCallDelta(0, '{"a"'), ToolCallDelta(0, ": 1}")],
        completed("tool_calls"),
    ),
    "two calls in pieces": (
        [
            TextDelta("Looking."),
            ToolCallDelta(0, "{", "call_1", "weather"),
            ToolCallDelta(0, "}"),
            ToolCallDelta(1, "{}", "call_2", "time"),
            Finish("tool_calls"),
        ],
        completed("tool_calls"),
    ),
    "whole calls": (
        [ToolCall("call_1", "weather", "{}"), ToolCall("call_2", "time", ""), Finish("tool_calls")],
        completed("tool_calls"),
    ),
    "phases": (
        [
            MessagePhase("commentary"),
            TextDelta("Let me see."),
            MessagePhase("final_answer"),
            TextDelta("42."),
            Finish(),
        ],
        completed(),
    ),
    "things that are not for the client": (
        [ToolActivity("search", "started"), TextDelta("a"), USAGE, ToolActivity("search", "finished"), TextDelta("b")],
        completed(),
    ),
    "too long": ([ReasoningDelta("Hm."), TextDelta("One two"), Finish("length")], completed("length")),
    "a call that is too long": (
        [ToolCallDelta(0, '{"a', "call_1", "weather"), Finish("length")],
        completed("length"),
    ),
    "filtered": ([TextDelta("One"), Finish("content_filter")], completed("content_filter")),
    "a failure in a text": ([TextDelta("One"), TextDelta(" two")], FAILED),
    "a failure in a call": ([TextDelta("a"), ToolCallDelta(0, "{", "call_1", "weather")], FAILED),
    "a failure after all was said": ([TextDelta("One"), Finish()], FAILED),
    "a failure after the limit": ([TextDelta("One"), Finish("length")], FAILED),
    "an abort": ([ReasoningDelta("Hm")], CANCELLED),
}


def resource(**body: Any) -> ResponseResource:
    request = ResponseRequest.parse({"model": "scripted/echo", "input": "hello", **body})
    return ResponseResource(request, RUN_ID, CREATED_AT)


def stream(events: Sequence[AgentEvent], result: RunResult, **body: Any) -> list[Event]:
    """The stream for these events, opened as late as the outlet does: after the first event was encoded."""
    encoder = ResponseStreamEncoder(resource(**body))
    frames = [encoder.event(event) for event in events]
    return events_of(b"".join([encoder.open(), *frames, encoder.close(result)]))


def types(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def final(events: Sequence[AgentEvent], result: RunResult, **body: Any) -> Event:
    return read(stream(events, result, **body))


def body_of(events: Sequence[AgentEvent], result: Completed, **body: Any) -> Event:
    encoder = ResponseBodyEncoder(resource(**body))
    for event in events:
        encoder.event(event)
    answer: Event = json.loads(encoder.body(result))
    return answer


words = st.text(max_size=3)
whole_events: st.SearchStrategy[AgentEvent] = st.one_of(
    st.builds(TextDelta, words, choice=st.sampled_from([0, 0, 1])),
    st.builds(TextDelta, words, logprobs=st.just((TOKEN,))),
    st.builds(RefusalDelta, words),
    st.builds(ReasoningDelta, words, summary=st.booleans()),
    st.builds(ToolCall, st.just("call_w"), st.just("weather"), words),
    st.builds(MessagePhase, st.sampled_from(["commentary", "final_answer"])),
    st.sampled_from([USAGE, ToolActivity("search", "started"), Finish(choice=1)]),
)
calls_in_pieces = st.lists(words, max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[AgentEvent]:
    """What an agent may say before its `Finish`: anything, but a call's pieces together."""
    events: list[AgentEvent] = []
    for index, part in enumerate(draw(st.lists(st.one_of(whole_events, calls_in_pieces), max_size=10))):
        if isinstance(part, list):
            events.append(ToolCallDelta(index, call_id=f"call_{index}", name="weather"))
            events += [ToolCallDelta(index, piece) for piece in part]
        else:
            events.append(part)
    return events
