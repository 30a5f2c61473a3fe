"""A chunk that is known again is read as every other one is."""

import json
from typing import Any

import pytest

from gateway_project.agents.events import TextDelta
from gateway_project.agents.openai.stream import AnswerReader
from gateway_project.agents.openai.usual import UsualChunk


def chunk(text: Any, *, delta: Any = None, **values: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if delta is None else delta, "finish_reason": None}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **values}).encode()


def read(*chunks: bytes) -> list[Any]:
    reader = AnswerReader(choices=2, logprobs=False, redact=str)
    return [event for data in chunks for event in reader.chunk(data)]


@pytest.mark.parametrize(
    "text", ["b", " b ", "ü", "日本", '"', "\\", "\n", "\x00", "a\u2028b", '","x":"', "", "}", "\U0001f600"]
)
def test_a_text_is_itself_whatever_it_is(text: str) -> None:
    for spelled in (chunk(text), json.dumps(json.loads(chunk(text)), ensure_ascii=False).encode()):
        assert read(chunk("one"), spelled, chunk("two")) == [
            TextDelta("one"),
            *([TextDelta(text)] if text else []),
            TextDelta("two"),
        ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(chunk("b", usage={"prompt_tokens": 1, "completion_tokens": 2}), id="usage"),
        pytest.param(chunk("", delta={"reasoning_content": "b"}), id="reasoning"),
        pytest.param(chunk("", delta={"content": "b", "reasoning_content": "c"}), id="both"),
    ],
)
def test_anything_more_than_text_is_read_in_full(other: bytes) -> None:
    alone = read(other)
    assert read(chunk("one"), other) == [TextDelta("one"), *alone]
    assert read(chunk("one"), chunk("two"), other, chunk("three")) == [
        TextDelta("one"),
        TextDelta("two"),
        *alone,
        TextDelta("three"),
    ]


def test_usage_that_comes_with_every_chunk_is_told_each_time_that_it_changes() -> None:
    def counted(number: int) -> bytes:
        return chunk("a", usage={"prompt_tokens": 1, "completion_tokens": number})

    events = read(counted(1), counted(2), counted(2), counted(1), counted(2))
    kinds = [event.type for event in events]
    assert kinds == ["text_delta", "usage"] * 2 + ["text_delta"] + ["text_delta", "usage"] * 2


def test_nothing_is_read_of_a_choice_that_has_finished() -> None:
    done = chunk("", delta={}).replace(b'"finish_reason": null', b'"finish_reason": "stop"')
    events = read(chunk("one"), chunk("two"), done, chunk("three"))
    assert [event.type for event in events] == ["text_delta", "text_delta", "finish"]


def test_a_text_that_stands_twice_in_a_chunk_teaches_nothing() -> None:
    usual = UsualChunk()
    usual.learn(chunk("m"), TextDelta("m"))
    assert usual.text_of(chunk("other")) is None


def test_an_upstream_whose_chunks_all_differ_is_not_studied_for_ever() -> None:
    usual = UsualChunk()
    for number in range(20):
        usual.learn(chunk("a", padding="p" * number), TextDelta("a"))
    assert usual.text_of(chunk("a", padding="p" * 7)) == "a"
    assert usual.text_of(chunk("a", padding="p" * 19)) is None


def test_control_characters_that_are_not_escaped_are_no_json() -> None:
    assert UsualChunk().text_of(b"") is None
    usual = UsualChunk()
    usual.learn(chunk("a"), TextDelta("a"))
    assert usual.text_of(chunk("MARK").replace(b"MARK", b"\x01")) is None
    assert usual.text_of(chunk("MARK").replace(b"MARK", b"\xff")) is None
