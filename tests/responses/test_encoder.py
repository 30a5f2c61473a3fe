"""Answers: every sequence of agent events becomes a stream that a strict reader accepts."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from gateway_project import clock
from gateway_project.agents.errors import AgentMisbehaved
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from gateway_project.execution.outlet import Aborted, Completed, RunResult
from gateway_project.runs.vocabulary import AbortCause
from responses.encoder import ResponseStreamEncoder
from tests import spec
from tests.responses.reader import events_of, read
from tests.responses.scenarios import (
    CANCELLED,
    FAILED,
    FULL_REQUEST,
    SCENARIOS,
    USAGE,
    answers,
    body_of,
    completed,
    final,
    resource,
    stream,
    types,
)
from tests.spec.frames import event_faults, response_faults

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "gateway-hypothesis")  # Not into the source tree.

scenarios = pytest.mark.parametrize(("events", "result"), SCENARIOS.values(), ids=SCENARIOS)
completed_scenarios = pytest.mark.parametrize(
    "name", [n for n, (_, end) in SCENARIOS.items() if end not in (FAILED, CANCELLED)]
)


# -- every stream ------------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Open Responses",
    "Items are state machines",
    "Items are streamable",
    "sequence_number",
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
)
@scenarios
def test_a_strict_reader_accepts_the_stream(events: Sequence[AgentEvent], result: RunResult) -> None:
    read(stream(events, result))


@pytest.mark.compliance("Open Responses", "Streaming")
@pytest.mark.compliance("OpenAI Responses", "ResponseStreamEvent", "Response.usage", "ResponseErrorCode")
@scenarios
def test_every_event_keeps_to_the_schemas_of_both_protocols(events: Sequence[AgentEvent], result: RunResult) -> None:
    for event in stream(events, result, **FULL_REQUEST):
        assert event_faults(event) == []


@pytest.mark.compliance("Open Responses", "stream", "ResponseResource")
@pytest.mark.compliance("OpenAI Responses", "Response")
@completed_scenarios
def test_the_body_is_what_the_stream_ends_with(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events, result = SCENARIOS[name]
    assert isinstance(result, Completed)
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)

    streamed = final(events, result, **FULL_REQUEST)
    body = body_of(events, result, **FULL_REQUEST)
    assert body == streamed
    assert response_faults(body) == []


@pytest.mark.compliance("Open Responses", "Items are state machines", "Items are streamable", "sequence_number")
@hypothesis_settings(max_examples=150, deadline=None, database=None)
@given(answers(), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.booleans())
def test_a_strict_reader_accepts_whatever_an_agent_says(said: list[AgentEvent], reason: Any, fails: bool) -> None:
    response = final([*said, Finish(reason)], FAILED if fails else completed(reason))
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part["text"] for part in parts if part["type"] == "output_text") == "".join(
        event.text for event in said if isinstance(event, TextDelta) and event.choice == 0
    )


# -- events ------------------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Open Responses",
    "Items are streamable",
    "response.output_text.delta",
    "response.content_part.added",
    "response.completed",
)
def test_the_events_of_a_text_come_in_the_order_of_the_specification() -> None:
    events = stream(*SCENARIOS["text"])
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events if "delta" in event] == ["Hel", "lo"]
    assert events[-1]["response"]["output"][0]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]


@pytest.mark.compliance(
    "Open Responses", "response.function_call_arguments.delta", "response.output_item.added", "FunctionCall"
)
def test_a_call_has_its_name_from_the_start_and_no_part() -> None:
    events = stream(*SCENARIOS["a call in pieces"])
    assert types(events)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    added = events[2]["item"]
    assert (added["name"], added["call_id"], added["arguments"]) == ("weather", "call_1", "")
    assert added["id"].startswith("fc_")
    assert events[-3]["name"] == "weather"
    assert events[-1]["response"]["output"][0]["arguments"] == '{"a": 1}'


@pytest.mark.compliance(
    "Open Responses",
    "response.reasoning.delta",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_text.delta",
    "ReasoningBody",
)
def test_raw_reasoning_and_its_summary_are_parts_of_one_item() -> None:
    events = stream(*SCENARIOS["reasoning, told again"])
    assert types(events)[2:-1] == [
        "output_item.added",
        "content_part.added",
        "reasoning.delta",
        "reasoning.done",
        "content_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    [item] = events[-1]["response"]["output"]
    assert item["id"].startswith("rs_")
    assert item["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    assert item["summary"] == [{"type": "summary_text", "text": "Thought."}]


def test_each_kind_of_output_is_an_item_of_its_own() -> None:
    output = final(
        [
            ReasoningDelta("a"),
            TextDelta("b"),
            ToolCallDelta(0, "{}", "call_1", "weather"),
            TextDelta("c"),
            ToolCall("call_2", "time", "{}"),
            ReasoningDelta("d"),
            Finish(),
        ],
        completed(),
    )["output"]
    assert [item["type"] for item in output] == [
        "reasoning",
        "message",
        "function_call",
        "message",
        "function_call",
        "reasoning",
    ]
    assert len({item["id"] for item in output}) == 6


@pytest.mark.compliance("Open Responses", "response.refusal.delta", "Message")
def test_a_refusal_is_a_part_of_the_message() -> None:
    [message] = final(*SCENARIOS["text and a refusal"])["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal", "output_text"]
    assert message["content"][1] == {"type": "refusal", "refusal": "no."}


@pytest.mark.compliance("Open Responses", "phase", "Message")
def test_a_phase_begins_a_message_that_bears_it() -> None:
    events = stream(*SCENARIOS["phases"])
    assert [item["phase"] for item in events[-1]["response"]["output"]] == ["commentary", "final_answer"]
    assert [event["item"]["phase"] for event in events if event["type"].endswith("item.added")] == [
        "commentary",
        "final_answer",
    ]


def test_a_message_without_a_phase_has_no_such_key() -> None:
    [message] = final(*SCENARIOS["text"])["output"]
    assert "phase" not in message


@pytest.mark.compliance("Open Responses", "response.output_text.delta", "Message")
def test_logprobs_belong_to_their_delta_and_all_to_the_part() -> None:
    events = stream(*SCENARIOS["logprobs"])
    expected = {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": [72, 111]}],
    }
    assert [event["logprobs"] for event in events if event["type"].endswith("text.delta")] == [[expected], []]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [expected]


def test_a_token_of_no_probability_is_said_in_json() -> None:
    unlikely = TokenLogprob("x", float("-inf"), None, (TokenLogprob("y", float("nan")),))
    [message] = final([TextDelta("x", logprobs=(unlikely,)), Finish()], completed())["output"]
    [token] = message["content"][0]["logprobs"]
    assert (token["logprob"], token["top_logprobs"][0]["logprob"]) == (-9999.0, -9999.0)


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_other_choices_and_what_comes_after_the_end_are_not_shown(reason: Any) -> None:
    said: list[AgentEvent] = [TextDelta("a"), TextDelta("b", choice=1), Finish(choice=1), TextDelta("c")]
    [message] = final([*said, Finish(reason), TextDelta("d")], completed(reason))["output"]
    assert message["content"][0]["text"] == "ac"


def test_an_empty_piece_of_text_opens_nothing() -> None:
    assert final([TextDelta(""), ReasoningDelta(""), RefusalDelta(""), Finish()], completed())["output"] == []


# -- ends --------------------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Open Responses", "Items are state machines", "response.incomplete", "ResponseResource.incomplete_details"
)
@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("too long", "max_output_tokens"),
        ("a call that is too long", "max_output_tokens"),
        ("filtered", "content_filter"),
    ],
)
def test_an_answer_that_was_cut_is_incomplete_and_so_is_its_last_item(scenario: str, reason: str) -> None:
    events = stream(*SCENARIOS[scenario])
    response = read(events)
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert (response["completed_at"], response["error"]) == (None, None)
    assert response["output"][-1]["status"] == "incomplete"


@pytest.mark.compliance("Open Responses", "response.failed", "ResponseResource.error", "error")
@pytest.mark.parametrize("scenario", [name for name, (_, end) in SCENARIOS.items() if end is FAILED])
def test_a_failure_goes_alone_with_the_whole_object(scenario: str) -> None:
    events = stream(*SCENARIOS[scenario])
    response = read(events)
    assert types(events).count("failed") == 1
    assert "error" not in types(events)
    assert response["error"] == {"code": "broken", "message": "It broke."}
    assert (response["completed_at"], response["incomplete_details"]) == (None, None)
    assert response["usage"]["total_tokens"] == 18


@pytest.mark.compliance("Open Responses", "Items are state machines")
def test_an_item_that_a_failure_interrupts_never_ends() -> None:
    [message] = final(*SCENARIOS["a failure in a text"])["output"]
    assert message["status"] == "in_progress"
    assert message["content"][0]["text"] == "One two"


@pytest.mark.compliance("Open Responses", "response.failed")
@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (AbortCause.CLIENT_CANCELLED, "run_cancelled"),
        (AbortCause.TIMEOUT, "run_timeout"),
        (AbortCause.SHUTDOWN, "shutting_down"),
    ],
)
def test_an_abort_is_told_as_a_failure(cause: AbortCause, code: str) -> None:
    events = stream([TextDelta("a")], Aborted(cause, USAGE))
    assert events[-1]["type"] == "response.failed"
    assert read(events)["error"]["code"] == code


def test_a_heartbeat_may_open_the_stream_before_the_first_event() -> None:
    encoder = ResponseStreamEncoder(resource())
    frames = [encoder.open(), encoder.event(TextDelta("a")), encoder.close(completed())]
    assert read(events_of(b"".join(frames)))["output"][0]["content"][0]["text"] == "a"


@pytest.mark.compliance("Open Responses", "error")
@pytest.mark.compliance("OpenAI Responses", "ResponseErrorEvent")
def test_a_stream_that_cannot_come_to_its_end_is_broken_off_with_an_error_event() -> None:
    encoder = ResponseStreamEncoder(resource())
    frames = [encoder.open(), encoder.event(TextDelta("a")), encoder.broken_off(AgentMisbehaved("It broke."))]
    *_, delta, error = events_of(b"".join(frames))
    assert error == {
        "type": "error",
        "sequence_number": delta["sequence_number"] + 1,
        "error": {"type": "server_error", "code": "internal_error", "message": "It broke.", "param": None},
    }
    assert spec.faults(spec.OPEN_RESPONSES, "ErrorStreamingEvent", error) == []


@pytest.mark.parametrize(
    "events",
    [
        [ToolCallDelta(0, "{}")],
        [ToolCallDelta(0, "{}", call_id="call_1")],
        [ToolCallDelta(0, "{", "call_1", "a"), ToolCallDelta(1, "{", "call_2", "b"), ToolCallDelta(0, "}")],
        [ToolCallDelta(0, "{", "call_1", "a"), TextDelta("x"), ToolCallDelta(0, "}", "call_1", "a")],
    ],
)
def test_a_piece_of_a_call_that_belongs_nowhere_is_the_agents_fault(events: list[AgentEvent]) -> None:
    encoder = ResponseStreamEncoder(resource())
    for event in events[:-1]:
        encoder.event(event)
    with pytest.raises(AgentMisbehaved):
        encoder.event(events[-1])
