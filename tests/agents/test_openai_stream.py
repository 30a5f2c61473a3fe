"""Chunks of an upstream → agent events, with the ways in which real upstreams differ."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.agents.errors import AgentError, ContextOverflow, UpstreamError
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.openai.errors import redactor
from gateway_project.agents.openai.stream import AnswerReader

_redact = redactor(("sk-very-secret",))


def _reader(choices: int = 1, *, logprobs: bool = False) -> AnswerReader:
    return AnswerReader(choices=choices, logprobs=logprobs, redact=_redact)


def _chunk(delta: Any = None, reason: str | None = None, index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta or {}, "finish_reason": reason} | more]}


def _read(reader: AnswerReader, *chunks: Any) -> list[AgentEvent]:
    return [
        event
        for chunk in chunks
        for event in reader.chunk(chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode())
    ]


def _call(index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = "") -> Any:
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    call = {"index": index, "id": call_id, "function": function}
    return _chunk({"tool_calls": [{key: value for key, value in call.items() if value is not None}]})


def _calls(*chunks: Any) -> list[tuple[int, str]]:
    """Name or arguments of each piece, under its number."""
    pieces = _read(_reader(), *chunks)
    assert all(isinstance(piece, ToolCallDelta) for piece in pieces)
    return [(p.index, p.name or p.arguments) for p in pieces if isinstance(p, ToolCallDelta)]


# -- text, reasoning, refusals --------------------------------------------------------------------------


def test_text_comes_as_it_was_cut() -> None:
    role = _chunk({"role": "assistant", "content": ""})
    assert _read(_reader(), role, _chunk({"content": "Hel"}), _chunk({"content": "lo"})) == [
        TextDelta("Hel"),
        TextDelta("lo"),
    ]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_has_two_names(key: str) -> None:
    assert _read(_reader(), _chunk({key: "Hm", "content": None})) == [ReasoningDelta("Hm")]


def test_reasoning_under_both_names_is_not_told_twice() -> None:
    assert _read(_reader(), _chunk({"reasoning_content": "Hm", "reasoning": "Hm"})) == [ReasoningDelta("Hm")]


def test_a_refusal_is_apart_from_text() -> None:
    assert _read(_reader(), _chunk({"refusal": "No."})) == [RefusalDelta("No.")]


def test_a_chunk_may_hold_the_last_text_and_the_finish() -> None:
    assert _read(_reader(), _chunk({"content": "x"}, "stop")) == [TextDelta("x"), Finish("stop")]


@pytest.mark.parametrize("last", [_chunk(None, "stop"), b"[DONE]"])
def test_fewer_choices_than_were_asked_for_are_no_answer(last: Any) -> None:
    reader = _reader(choices=2)
    _read(reader, _chunk({"content": "x"}), last)
    with pytest.raises(UpstreamError):
        reader.end()


HIGH, LOW = "\ud83d", "\ude00"
"""Of a 😀, in UTF-16."""
LOST = "\ufffd"


@pytest.mark.parametrize(
    ("key", "event"), [("content", TextDelta), ("refusal", RefusalDelta), ("reasoning", ReasoningDelta)]
)
def test_a_character_that_was_cut_in_two_is_joined(key: str, event: Any) -> None:
    chunks = [_chunk({key: f"a{HIGH}"}), _chunk({key: f"{LOW}b"}), _chunk({key: "c"})]
    assert _read(_reader(), *chunks) == [event("a"), event("😀b"), event("c")]


def test_also_between_chunks_of_the_usual_kind() -> None:
    texts = ["one", "two", HIGH, LOW, "three", HIGH, "four"]
    joined = ["one", "two", "😀", "three", f"{LOST}four"]
    assert _read(_reader(), *(_chunk({"content": text}) for text in texts)) == [TextDelta(text) for text in joined]


def test_a_half_that_stays_alone_becomes_what_utf8_can_hold() -> None:
    chunks = [_chunk({"content": f"a{LOW}b"}), _chunk({"content": f"c{HIGH}"}, "stop")]
    assert _read(_reader(), *chunks) == [TextDelta(f"a{LOST}b"), TextDelta("c"), TextDelta(LOST), Finish("stop")]


def test_the_arguments_of_a_call_are_joined_too() -> None:
    assert _calls(_call(0, "1", "f", ""), _call(0, arguments=f'"{HIGH}'), _call(0, arguments=f'{LOW}"')) == [
        (0, "f"),
        (0, '"'),
        (0, '😀"'),
    ]


@pytest.mark.parametrize("chunk", [{"choices": []}, {"choices": None}, {}, _chunk(None), {"choices": [{"index": 0}]}])
def test_a_chunk_may_say_nothing(chunk: Any) -> None:
    assert _read(_reader(), chunk) == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"9" * 5000, b"\xff"])
def test_what_is_no_json_object_is_not_understood(data: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        _reader().chunk(data)
    assert caught.value.code == "upstream_protocol_error"


@pytest.mark.parametrize("content", [3, ["x"], {"a": 1}, True])
def test_content_that_is_no_text_is_not_lost_in_silence(content: Any) -> None:
    with pytest.raises(UpstreamError):
        _read(_reader(), _chunk({"content": content}))


# -- the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
    ],
)
def test_finish_reasons_are_mapped(reason: str, expected: str) -> None:
    assert _read(_reader(), _chunk({}, reason)) == [Finish(expected)]  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_upstream_broke_off_is_no_answer(reason: str) -> None:
    with pytest.raises(UpstreamError, match="broke the answer off"):
        _read(_reader(), _chunk({}, reason))


def test_nothing_follows_a_finish_but_usage() -> None:
    late = _chunk({"content": "late"}, "stop") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert _read(_reader(), _chunk({}, "stop"), late) == [Finish("stop"), Usage(1, 2)]


def test_each_choice_has_its_own_end() -> None:
    reader = _reader(2)
    events = _read(reader, _chunk({"content": "a"}, index=1), _chunk({}, "length", 1), _chunk({"content": "b"}, "stop"))
    assert events == [TextDelta("a", 1), Finish("length", 1), TextDelta("b", 0), Finish("stop", 0)]
    assert reader.end() == []


@pytest.mark.parametrize("index", [1, -1, 10**20, "0", True])
def test_a_choice_that_was_not_asked_for_is_refused(index: Any) -> None:
    with pytest.raises(UpstreamError, match="not asked for"):
        _read(_reader(), _chunk({"content": "x"}, index=index))


def test_a_finish_reason_without_done_is_an_end() -> None:
    reader = _reader()
    _read(reader, _chunk({"content": "x"}, "stop"))
    assert reader.end() == []


def test_done_without_a_finish_reason_is_an_end_too() -> None:
    reader = _reader(2)
    _read(reader, _chunk({"content": "x"}), _chunk({"content": "y"}, index=1), b"[DONE]")
    assert reader.done
    assert reader.end() == [Finish("stop", 0), Finish("stop", 1)]


@pytest.mark.parametrize("chunks", [[], [_chunk({"content": "x"})], [b"[DONE]"]])
def test_an_end_without_either_is_a_cut(chunks: list[Any]) -> None:
    reader = _reader()
    _read(reader, *chunks)
    with pytest.raises(UpstreamError) as caught:
        reader.end()
    assert caught.value.code == "upstream_cut_off"


def test_nothing_is_read_after_done() -> None:
    assert _read(_reader(), b" [DONE] ", _chunk({"content": "x"}), b"{no json") == []


# -- usage -----------------------------------------------------------------------------------------------


def test_usage_has_its_details() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert _read(_reader(), {"choices": [], "usage": usage}) == [Usage(10, 20, 3, 4)]


def test_zero_stays_zero_and_missing_details_are_zero() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None}
    assert _read(_reader(), {"choices": [], "usage": usage}) == [Usage(0, 0)]


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": 1}, {"prompt_tokens": "1", "completion_tokens": -2}, [1], 10**40]
)
def test_usage_that_says_nothing_is_left_to_an_estimate(usage: Any) -> None:
    assert _read(_reader(), {"choices": [], "usage": usage}) == []


def test_usage_in_every_chunk_is_told_when_it_changes() -> None:
    counts = [{"usage": {"prompt_tokens": 5, "completion_tokens": count}} for count in (1, 1, 2)]
    assert _read(_reader(), *counts) == [Usage(5, 1), Usage(5, 2)]


# -- log probabilities -----------------------------------------------------------------------------------


def _logprobs(content: Any) -> dict[str, Any]:
    return {"logprobs": {"content": content, "refusal": None}}


_HI = {
    "token": "Hi",
    "logprob": -0.5,
    "bytes": [72, 105],
    "top_logprobs": [{"token": "Ho", "logprob": -2, "bytes": []}],
}


def test_log_probabilities_go_with_their_text() -> None:
    events = _read(_reader(logprobs=True), _chunk({"content": "Hi"}, **_logprobs([_HI])))
    assert events == [
        TextDelta("Hi", logprobs=(TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -2.0, ()),)),)),
    ]


def test_log_probabilities_nobody_asked_for_are_dropped() -> None:
    assert _read(_reader(), _chunk({"content": "Hi"}, **_logprobs([_HI]))) == [TextDelta("Hi")]


@pytest.mark.parametrize("delta", [{"content": ""}, {"content": None}, {}])
def test_a_token_without_text_of_its_own_is_not_lost(delta: dict[str, Any]) -> None:
    half = {"token": "\\xf0", "logprob": -1, "bytes": [240], "top_logprobs": []}
    events = _read(_reader(logprobs=True), _chunk(delta, **_logprobs([half])))
    assert events == [TextDelta("", logprobs=(TokenLogprob("\\xf0", -1.0, (240,)),))]


def test_log_probabilities_of_reasoning_are_not_those_of_the_answer() -> None:
    events = _read(_reader(logprobs=True), _chunk({"reasoning_content": "Hm"}, **_logprobs([_HI])))
    assert events == [ReasoningDelta("Hm")]


@pytest.mark.parametrize("value", ["null", "-Infinity", "NaN", "-1e999", "true", '"x"', "-" + "9" * 400])
def test_a_probability_of_zero_becomes_a_number_that_json_can_hold(value: str) -> None:
    data = '{"choices":[{"index":0,"delta":{"content":"x"},"logprobs":{"content":[{"token":"x","logprob":%s}]}}]}'
    events = _reader(logprobs=True).chunk((data % value).encode())
    assert events == [TextDelta("x", logprobs=(TokenLogprob("x", -9999.0),))]


def test_log_probabilities_of_a_refusal_go_with_it() -> None:
    chunk = _chunk({"refusal": "No"}, logprobs={"content": None, "refusal": [{"token": "No", "logprob": 0}]})
    assert _read(_reader(logprobs=True), chunk) == [RefusalDelta("No", logprobs=(TokenLogprob("No", 0.0),))]


# -- tool calls ------------------------------------------------------------------------------------------


def test_a_call_comes_in_pieces() -> None:
    events = _read(_reader(), _call(0, "call_a", "f"), _call(0, arguments='{"a"'), _call(0, arguments=":1}"))
    assert events == [
        ToolCallDelta(0, "", "call_a", "f"),
        ToolCallDelta(0, '{"a"'),
        ToolCallDelta(0, ":1}"),
    ]


def test_calls_are_numbered_from_zero_without_gaps() -> None:
    assert _calls(_call(1, "a", "f"), _call(1, arguments="1"), _call(3, "b", "g")) == [(0, "f"), (0, "1"), (1, "g")]


def test_the_index_zero_for_every_call() -> None:
    assert _calls(_call(0, "a", "f", "{}"), _call(0, "b", "g", "{}")) == [(0, "f"), (1, "g")]


def test_no_index_at_all() -> None:
    chunks = [_call(None, "a", "f"), _call(None, arguments="1"), _call(None, "b", "g"), _call(None, arguments="2")]
    assert _calls(*chunks) == [(0, "f"), (0, "1"), (1, "g"), (1, "2")]


def test_a_new_id_in_every_piece() -> None:
    assert _calls(_call(0, "a", "f"), _call(0, "b", arguments="1"), _call(0, "c", arguments="2")) == [
        (0, "f"),
        (0, "1"),
        (0, "2"),
    ]


def test_id_and_name_repeated_in_every_piece() -> None:
    assert _calls(_call(0, "a", "f", "1"), _call(0, "a", "f", "2"), _call(0, None, "f", "3")) == [
        (0, "f"),
        (0, "2"),
        (0, "3"),
    ]


def test_a_call_without_an_id_gets_one() -> None:
    (piece,) = _read(_reader(), _call(0, None, "f", "{}"))
    assert isinstance(piece, ToolCallDelta)
    assert piece.call_id is not None
    assert piece.call_id.startswith("call_")


def test_arguments_that_are_an_object_become_text() -> None:
    assert _read(_reader(), _call(0, "a", "f", {"x": 1})) == [ToolCallDelta(0, '{"x": 1}', "a", "f")]


def test_a_call_without_a_name_is_refused() -> None:
    with pytest.raises(UpstreamError, match="without a name"):
        _read(_reader(), _call(0, "a", arguments="{}"))


def test_mixed_pieces_are_refused_since_no_client_could_put_them_together() -> None:
    with pytest.raises(UpstreamError, match="mixed"):
        _read(_reader(), _call(0, "a", "f"), _call(1, "b", "g"), _call(0, arguments="late"))


def test_an_empty_late_piece_does_no_harm() -> None:
    assert _calls(_call(0, "a", "f"), _call(1, "b", "g"), _call(0)) == [(0, "f"), (1, "g")]


def test_stop_after_a_call_means_tool_calls() -> None:
    assert _read(_reader(), _call(0, "a", "f"), _chunk({}, "stop"))[-1] == Finish("tool_calls")


# -- errors in place of an answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "status", "code", "message"),
    [
        ({"error": {"message": "It died.", "type": "server_error"}}, 502, "upstream_error", "It died."),
        ({"error": {"message": "m", "code": 503}}, 503, "upstream_error", "m"),
        ({"error": {"message": "m", "code": "400"}}, 400, "invalid_request", "m"),
        ({"error": "It died."}, 502, "upstream_error", "It died."),
        ({"error": {"code": 429, "message": "org-abcdefgh"}}, 429, "rate_limit_exceeded", "The upstream's rate limit"),
        ({"error": {"code": "insufficient_quota", "message": "pay"}}, 429, "insufficient_quota", "The upstream's rate"),
        ({"error": {"code": 401, "message": "key"}}, 502, "upstream_authentication_error", "The gateway is not"),
        ({"error": {"code": "invalid_api_key", "message": "k"}}, 502, "upstream_authentication_error", "The gateway"),
        ({"object": "error", "message": "old", "code": 400}, 400, "invalid_request", "old"),
        ({"error": {"message": "has sk-very-secret in it"}}, 502, "upstream_error", "has [redacted] in it"),
        ({"error": ["odd"]}, 502, "upstream_error", "The upstream failed with status 500."),
    ],
)
def test_an_error_frame_is_the_error_that_it_means(frame: Any, status: int, code: str, message: str) -> None:
    with pytest.raises(AgentError) as caught:
        _read(_reader(), _chunk({"content": "x"}), frame)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.message.startswith(message)


def test_a_frame_may_say_that_the_context_is_too_long() -> None:
    with pytest.raises(ContextOverflow):
        _read(_reader(), {"error": {"code": "context_length_exceeded", "message": "too long"}})


# -- whole answers ---------------------------------------------------------------------------------------


def test_a_whole_answer_gives_the_same_events() -> None:
    message = {
        "role": "assistant",
        "content": "text",
        "reasoning_content": "Hm",
        "refusal": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ],
    }
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    assert _reader().whole(json.dumps(answer).encode()) == [
        ReasoningDelta("Hm"),
        TextDelta("text"),
        ToolCallDelta(0, "{}", "a", "f"),
        ToolCallDelta(1, "{}", "b", "f"),
        Finish("tool_calls"),
        Usage(1, 2),
    ]


def test_a_whole_answer_without_choices_is_none() -> None:
    with pytest.raises(UpstreamError):
        _reader().whole(b"{}")


_KEYS = (
    "arguments bytes choices code content delta error finish_reason function id index logprobs name prompt_tokens"
    " token tool_calls top_logprobs usage"
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=3))
def test_whatever_json_comes_only_an_agent_error_goes_out(odd: list[Any]) -> None:
    reader = _reader(logprobs=True)
    deltas = {"choices": [{"index": 0, "delta": item, "logprobs": item} for item in odd]}
    calls = [_chunk({"content": None, "tool_calls": [item, {"function": item}]}) for item in odd]
    for chunk in ({"choices": odd}, deltas, *calls, *odd):
        with suppress(AgentError):
            _read(reader, chunk)
    with suppress(AgentError):
        reader.end()
