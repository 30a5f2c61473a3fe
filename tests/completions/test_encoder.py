"""Answers: chunks that every client joins to what the whole body says at once."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from completions.encoder import ChatBodyEncoder, ChatStreamEncoder
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
from tests import spec

RUN_ID = ids.new_run_id()
CREATED = 1_795_521_571
USAGE = Usage(input_tokens=11, output_tokens=7, cached_tokens=3, reasoning_tokens=2)
TOKEN = TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.5),))
TOKEN_OBJECT = {
    "token": "Hi",
    "logprob": -0.5,
    "bytes": [72, 105],
    "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": None}],
}
Chunk = dict[str, Any]

SCENARIOS: dict[str, list[AgentEvent]] = {
    "text": [TextDelta("Hel"), TextDelta("lo"), Finish()],
    "nothing": [Finish()],
    "too long": [TextDelta("One"), Finish("length")],
    "logprobs": [TextDelta("Hi", logprobs=(TOKEN,)), TextDelta("!", logprobs=()), Finish()],
    "a refusal": [RefusalDelta("I can", logprobs=(TOKEN,)), RefusalDelta("not."), Finish()],
    "reasoning": [ReasoningDelta("Hm"), ReasoningDelta("m.", summary=True), TextDelta("Yes."), Finish()],
    "a call in pieces": [
        ToolCallDelta(0, call_id="call_1", name="weather"),
        ToolCallDelta(0, '{"a"'),
        ToolCallDelta(0, ": 1}"),
        Finish("tool_calls"),
    ],
    "text and parallel calls": [
        TextDelta("Looking."),
        ToolCallDelta(0, "{", "call_1", "weather"),
        ToolCallDelta(0, "}"),
        ToolCallDelta(1, "{}", "call_2", "time"),
        Finish("tool_calls"),
    ],
    "whole calls after a piece": [
        ToolCallDelta(0, "{}", "call_1", "weather"),
        ToolCall("call_2", "time", "[]"),
        ToolCall("call_3", "place", "{}"),
        Finish("tool_calls"),
    ],
    "a call in pieces between whole ones": [
        ToolCall("call_1", "weather", "{}"),
        ToolCallDelta(0, "[", "call_2", "time"),
        ToolCallDelta(0, "]"),
        ToolCall("call_3", "place", "{}"),
        Finish("tool_calls"),
    ],
    "choices that interleave": [
        TextDelta("a", choice=1),
        TextDelta("b"),
        TextDelta("c", choice=1),
        ToolCall("call_1", "weather", "{}", choice=1),
        Finish("tool_calls", choice=1),
        TextDelta("d"),
        Finish(),
    ],
    "things that are not for the client": [
        ToolActivity("search", "started"),
        MessagePhase("final_answer"),
        TextDelta("a"),
        USAGE,
        Finish(),
    ],
}

scenarios = pytest.mark.parametrize("events", SCENARIOS.values(), ids=SCENARIOS)


def completed(events: Sequence[AgentEvent]) -> Completed:
    """How the run with these events ends."""
    reasons = {event.choice: event.reason for event in events if isinstance(event, Finish)}
    return Completed(dict(sorted(reasons.items())), USAGE)


def chunks(
    events: Sequence[AgentEvent], result: RunResult | None = None, *, include_usage: bool = False
) -> list[Chunk]:
    """The chunks of a whole stream. Every byte must belong to a frame, and ``[DONE]`` must be the last."""
    encoder = ChatStreamEncoder(RUN_ID, "scripted/echo", CREATED, include_usage=include_usage)
    frames = [encoder.event(event) for event in events]
    stream = b"".join([encoder.open(), *frames, encoder.close(result or completed(events))]).decode()
    *parts, done, rest = stream.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(part.startswith("data: {") and "\n" not in part for part in parts)
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def body_of(events: Sequence[AgentEvent]) -> Chunk:
    encoder = ChatBodyEncoder(RUN_ID, "scripted/echo", CREATED)
    for event in events:
        encoder.event(event)
    body: Chunk = json.loads(encoder.body(completed(events)))
    return body


def joined(stream: list[Chunk]) -> list[Chunk]:
    """The choices that a client makes of the chunks; it holds them to the order of the protocol."""
    choices: dict[int, Chunk] = {}
    for chunk in stream:
        for item in chunk["choices"]:
            index, delta = item["index"], item["delta"]
            if index not in choices:
                assert delta["role"] == "assistant", "the first delta of a choice has its role"
                choices[index] = {"index": index, "message": {}, "logprobs": None, "finish_reason": None}
            choice = choices[index]
            assert choice["finish_reason"] is None, "nothing comes after the finish reason"
            choice["finish_reason"] = item["finish_reason"]
            _join(choice, delta, item["logprobs"])
    return [choices[index] for index in sorted(choices)]


def _join(choice: Chunk, delta: Chunk, logprobs: Any) -> None:
    message = choice["message"]
    for key in ("role", "content", "refusal", "reasoning_content"):
        if delta.get(key) is not None:
            message[key] = message.get(key, "") + delta[key]
    for piece in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if piece["index"] == len(calls):
            calls.append({"id": piece["id"], "type": piece["type"], "function": {**piece["function"]}})
        else:
            assert piece["index"] == len(calls) - 1
            assert "id" not in piece, "only the first piece of a call names it"
            calls[-1]["function"]["arguments"] += piece["function"]["arguments"]
    if logprobs is not None:
        kept = choice["logprobs"] = choice["logprobs"] or {"content": None, "refusal": None}
        for key in ("content", "refusal"):
            if logprobs[key] is not None:
                kept[key] = (kept[key] or []) + logprobs[key]


# -- every answer ------------------------------------------------------------------------------------------


@pytest.mark.compliance("Chat Completions", "CreateChatCompletionStreamResponse")
@pytest.mark.parametrize("include_usage", [True, False])
@scenarios
def test_every_chunk_keeps_to_the_schema(events: Sequence[AgentEvent], include_usage: bool) -> None:
    for chunk in chunks(events, include_usage=include_usage):
        assert spec.faults(spec.OPENAI_CHAT, "CreateChatCompletionStreamResponse", chunk) == []


@pytest.mark.compliance("Chat Completions", "CreateChatCompletionResponse")
@scenarios
def test_every_body_keeps_to_the_schema(events: Sequence[AgentEvent]) -> None:
    assert spec.faults(spec.OPENAI_CHAT, "CreateChatCompletionResponse", body_of(events)) == []


@pytest.mark.compliance(
    "Chat Completions",
    "stream",
    "delta.content",
    "delta.refusal",
    "delta.tool_calls",
    "chunk.choices.index",
    "chunk.choices.logprobs",
)
@scenarios
def test_the_chunks_joined_are_the_body(events: Sequence[AgentEvent]) -> None:
    body = body_of(events)
    for choice in body["choices"]:
        choice["message"] = {key: value for key, value in choice["message"].items() if value is not None}
        if "reasoning_content" in choice["message"]:
            # A stream cannot take back the empty content that its first delta had.
            choice["message"].setdefault("content", "")
    assert joined(chunks(events)) == body["choices"]


@pytest.mark.compliance("Chat Completions", "id", "chat.completion.chunk")
@scenarios
def test_all_chunks_have_one_head(events: Sequence[AgentEvent]) -> None:
    heads = {(c["id"], c["object"], c["created"], c["model"]) for c in chunks(events, include_usage=True)}
    assert heads == {(f"chatcmpl-{RUN_ID.hex}", "chat.completion.chunk", CREATED, "scripted/echo")}


@pytest.mark.compliance("Chat Completions", "finish_reason", "chunk.choices.finish_reason")
@scenarios
def test_a_choice_ends_with_an_empty_delta_and_its_reason(events: Sequence[AgentEvent]) -> None:
    ends = [item for chunk in chunks(events) for item in chunk["choices"] if item["finish_reason"]]
    assert [end["delta"] for end in ends] == [{}] * len(ends)
    assert {end["index"]: end["finish_reason"] for end in ends} == completed(events).reasons


# -- one thing at a time -----------------------------------------------------------------------------------


@pytest.mark.compliance("Chat Completions", "delta.role", "delta.content")
def test_a_text_is_role_pieces_and_end() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(SCENARIOS["text"])]
    assert deltas == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]


@pytest.mark.compliance("Chat Completions", "delta.tool_calls")
def test_a_call_is_named_in_its_first_piece_only() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(SCENARIOS["a call in pieces"])]
    assert [delta["tool_calls"] for delta in deltas if "tool_calls" in delta] == [
        [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"a"'}}],
        [{"index": 0, "function": {"arguments": ": 1}"}}],
    ]


@pytest.mark.compliance("Chat Completions", "message.content")
def test_a_body_with_calls_alone_has_no_content() -> None:
    message = body_of(SCENARIOS["a call in pieces"])["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


@pytest.mark.compliance("Chat Completions", "message.tool_calls", "message.refusal")
def test_a_body_without_calls_has_no_such_key() -> None:
    message = body_of(SCENARIOS["nothing"])["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "", "refusal": None}


@pytest.mark.compliance("Chat Completions", "message.refusal", "message.content", "choices.logprobs")
def test_a_refusal_is_apart_from_the_content() -> None:
    choice = body_of(SCENARIOS["a refusal"])["choices"][0]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "I cannot.")
    assert choice["logprobs"] == {"content": None, "refusal": [TOKEN_OBJECT]}


@pytest.mark.compliance("Chat Completions", "message.reasoning_content")
def test_reasoning_is_apart_from_the_content() -> None:
    message = body_of(SCENARIOS["reasoning"])["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "Hmm.")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(SCENARIOS["reasoning"])]
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["Hm", "m."]
    assert "reasoning_content" not in body_of(SCENARIOS["text"])["choices"][0]["message"]


@pytest.mark.compliance("Chat Completions", "chunk.choices.index")
def test_choices_that_interleave_are_told_apart_by_their_index_and_each_ends_for_itself() -> None:
    items = [chunk["choices"] for chunk in chunks(SCENARIOS["choices that interleave"])]
    assert all(len(choices) == 1 for choices in items)
    said = [(item["index"], item["delta"].get("content"), item["finish_reason"]) for [item] in items]
    texts = [(index, text) for index, text, _ in said if text]
    assert texts == [(1, "a"), (0, "b"), (1, "c"), (0, "d")]
    assert [(index, reason) for index, _, reason in said if reason] == [(1, "tool_calls"), (0, "stop")]


@pytest.mark.compliance("Chat Completions", "chunk.choices.index")
def test_choices_begin_in_the_order_in_which_the_official_client_finds_them() -> None:
    events: list[AgentEvent] = [TextDelta("a", choice=2), TextDelta("b"), Finish(), Finish(choice=1), Finish(choice=2)]
    items = [chunk["choices"][0] for chunk in chunks(events)]
    assert [item["index"] for item in items if "role" in item["delta"]] == [0, 1, 2]
    assert [item["index"] for item in items] == [0, 1, 2, 2, 0, 0, 1, 2]


@pytest.mark.compliance("Chat Completions", "chunk.choices.logprobs")
def test_logprobs_belong_to_their_piece() -> None:
    items = [chunk["choices"][0] for chunk in chunks(SCENARIOS["logprobs"])]
    assert [item["logprobs"] for item in items] == [
        None,
        {"content": [TOKEN_OBJECT], "refusal": None},
        {"content": [], "refusal": None},
        None,
    ]


UNLIKELY = TokenLogprob("x", float("-inf"), None, (TokenLogprob("y", float("nan")),))


@pytest.mark.compliance("Chat Completions", "choices.logprobs", "chunk.choices.logprobs")
def test_a_token_of_no_probability_is_said_in_json() -> None:
    events: list[AgentEvent] = [TextDelta("x", logprobs=(UNLIKELY,)), Finish()]
    [token] = body_of(events)["choices"][0]["logprobs"]["content"]
    assert (token["logprob"], token["top_logprobs"][0]["logprob"]) == (-9999.0, -9999.0)
    assert chunks(events)[1]["choices"][0]["logprobs"]["content"] == [token]


@pytest.mark.compliance("Chat Completions", "delta.tool_calls")
def test_whole_calls_get_the_next_free_index() -> None:
    calls = body_of(SCENARIOS["whole calls after a piece"])["choices"][0]["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_1", "call_2", "call_3"]


@pytest.mark.compliance("Chat Completions", "delta.tool_calls")
def test_a_call_that_is_streamed_is_no_other_that_came_whole() -> None:
    events = SCENARIOS["a call in pieces between whole ones"]
    calls = body_of(events)["choices"][0]["message"]["tool_calls"]
    found = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
    assert found == [("call_1", "weather", "{}"), ("call_2", "time", "[]"), ("call_3", "place", "{}")]
    deltas = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in chunks(events)]
    assert [delta[0]["index"] for delta in deltas if delta] == [0, 1, 1, 2]


@pytest.mark.compliance("Chat Completions", "choices")
def test_choices_are_in_order_in_the_body() -> None:
    choices = body_of(SCENARIOS["choices that interleave"])["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "bd"), (1, "ac")]


# -- usage and ends ----------------------------------------------------------------------------------------


@pytest.mark.compliance("Chat Completions", "stream_options.include_usage", "usage")
def test_usage_comes_in_a_last_chunk_of_its_own_when_asked_for() -> None:
    *others, last = chunks(SCENARIOS["text"], include_usage=True)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert [chunk["usage"] for chunk in others] == [None] * len(others)
    assert body_of(SCENARIOS["text"])["usage"] == last["usage"]


@pytest.mark.compliance("Chat Completions", "stream_options.include_usage")
def test_without_being_asked_for_there_is_no_usage_key() -> None:
    assert not any("usage" in chunk for chunk in chunks(SCENARIOS["text"]))


@pytest.mark.compliance("Chat Completions", "error in a stream", "data: [DONE]")
@pytest.mark.parametrize(
    ("result", "code", "kind"),
    [
        (Failed(AgentError("It broke.", code="broken"), USAGE), "broken", "server_error"),
        (Aborted(AbortCause.OPERATOR_CANCELLED, USAGE), "run_cancelled", "server_error"),
        (Aborted(AbortCause.TIMEOUT, USAGE), "run_timeout", "server_error"),
        (Aborted(AbortCause.SHUTDOWN, USAGE), "shutting_down", "server_error"),
    ],
)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_failure_is_the_last_frame_and_no_choice_is_finished(
    result: RunResult, code: str, kind: str, include_usage: bool
) -> None:
    *before, last = chunks([TextDelta("One")], result, include_usage=include_usage)
    assert set(last) == {"error"}
    assert (last["error"]["code"], last["error"]["type"], last["error"]["param"]) == (code, kind, None)
    assert all(item["finish_reason"] is None for chunk in before for item in chunk["choices"])


@pytest.mark.compliance("Chat Completions", "functions", "delta.function_call", "finish_reason")
def test_a_client_of_the_old_form_is_answered_in_it() -> None:
    events = SCENARIOS["a call in pieces"]
    encoder = ChatStreamEncoder(RUN_ID, "scripted/echo", CREATED, include_usage=False, old_calls=True)
    frames = b"".join(encoder.event(event) for event in events).decode().split("\n\n")[:-1]
    choices = [json.loads(frame.removeprefix("data: "))["choices"][0] for frame in frames]
    deltas = [choice["delta"]["function_call"] for choice in choices[1:-1]]
    assert deltas == [{"name": "weather", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ": 1}"}]
    assert choices[-1]["finish_reason"] == "function_call"
    body_encoder = ChatBodyEncoder(RUN_ID, "scripted/echo", CREATED, old_calls=True)
    for event in events:
        body_encoder.event(event)
    body = json.loads(body_encoder.body(completed(events)))
    assert spec.faults(spec.OPENAI_CHAT, "CreateChatCompletionResponse", body) == []
    message = body["choices"][0]["message"]
    assert message["function_call"] == {"name": "weather", "arguments": '{"a": 1}'}
    assert "tool_calls" not in message
