"""What goes to the upstream for a request."""

import json
from typing import Any

import pytest

from gateway_project.agents.openai.options import OpenAIOptions
from gateway_project.agents.openai.request import encode, request_object
from gateway_project.agents.request import (
    FunctionTool,
    Message,
    RefusalPart,
    RequestedToolCall,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolChoice,
)
from tests.agents.asking import request_for

_LOCAL = OpenAIOptions(base_url="http://localhost:8080/v1")
_OPENAI = OpenAIOptions()
_TOOL = FunctionTool("weather", "Tells it.", {"type": "object"}, strict=True)


def _object(options: OpenAIOptions = _LOCAL, **fields: Any) -> dict[str, Any]:
    return request_object(request_for("m", "Hello", **fields), options)


def test_a_plain_request_holds_only_what_was_asked() -> None:
    assert _object() == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_usage_is_not_asked_for_where_it_is_switched_off() -> None:
    assert "stream_options" not in _object(OpenAIOptions(stream_usage=False))


@pytest.mark.parametrize(
    ("base_url", "field", "role"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens", "developer"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens", "developer"),
        ("https://x.openai.azure.com/openai/v1", "max_completion_tokens", "developer"),
        ("http://localhost:11434/v1", "max_tokens", "system"),
        ("https://openrouter.ai/api/v1", "max_tokens", "system"),
        ("https://notopenai.com/v1", "max_tokens", "system"),
    ],
)
def test_the_token_limit_and_the_developer_role_fit_the_host(base_url: str, field: str, role: str) -> None:
    body = _object(
        OpenAIOptions(base_url=base_url), max_output_tokens=7, messages=(Message("developer", (TextPart("Be brief"),)),)
    )
    assert body[field] == 7
    assert not {"max_tokens", "max_completion_tokens"} - {field} & body.keys()
    assert body["messages"] == [{"role": role, "content": "Be brief"}]


def test_both_can_be_set() -> None:
    options = OpenAIOptions(max_tokens_field="max_tokens", developer_role="system")
    body = _object(options, max_output_tokens=7, messages=(Message("developer", (TextPart("x"),)),))
    assert body["max_tokens"] == 7
    assert body["messages"][0]["role"] == "system"


def test_every_kind_of_message() -> None:
    messages = (
        Message("system", (TextPart("a"), TextPart("b"))),
        Message("user", (TextPart("c"),), name="Ann"),
        Message("assistant", (), tool_calls=(RequestedToolCall("call_1", "weather", '{"x":1}'),)),
        Message("tool", (TextPart("sunny"),), tool_call_id="call_1"),
        Message("assistant", (RefusalPart("no"),)),
        Message("assistant", (TextPart("but"), RefusalPart("no"))),
        Message("user", ()),
    )
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"x":1}'}}
    assert _object(messages=messages)["messages"] == [
        {"role": "system", "content": "ab"},
        {"role": "user", "content": "c", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "no", "refusal": "no"},
        {"role": "assistant", "content": "but", "refusal": "no"},
        {"role": "user", "content": ""},
    ]


def test_tools_are_passed_on() -> None:
    body = _object(tools=(_TOOL, FunctionTool("bare")))
    weather = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}, "strict": True}
    assert body["tools"] == [
        {"type": "function", "function": weather},
        {"type": "function", "function": {"name": "bare"}},
    ]
    assert not {"tool_choice", "parallel_tool_calls"} & body.keys()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("function", "weather"), {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tool_choice(choice: ToolChoice, expected: Any) -> None:
    assert _object(tools=(_TOOL,), tool_choice=choice)["tool_choice"] == expected


def test_parallel_calls_are_spoken_of_only_with_tools() -> None:
    assert _object(tools=(_TOOL,), parallel_tool_calls=False)["parallel_tool_calls"] is False
    without = _object(parallel_tool_calls=False, tool_choice=ToolChoice("none"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & without.keys()


def test_response_formats() -> None:
    assert "response_format" not in _object(response_format=ResponseFormat("text"))
    assert _object(response_format=ResponseFormat("json_object"))["response_format"] == {"type": "json_object"}
    schema = ResponseFormat("json_schema", name="n", schema={"type": "object"}, strict=False, description="d")
    assert _object(response_format=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": False},
    }


def test_hints_and_limits_are_passed_on_and_zero_is_a_value() -> None:
    body = _object(
        stop=("a", "b"),
        choices=2,
        logprobs=True,
        top_logprobs=0,
        reasoning_effort="low",
        verbosity="high",
        sampling=Sampling(0, 0.5, 0, -1, 0, {"7": -100}),
    )
    assert {
        key: value for key, value in body.items() if key not in ("model", "messages", "stream", "stream_options")
    } == {
        "stop": ["a", "b"],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 0,
        "reasoning_effort": "low",
        "verbosity": "high",
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": 0,
        "frequency_penalty": -1,
        "seed": 0,
        "logit_bias": {"7": -100},
    }


def test_nobody_is_named_to_the_upstream() -> None:
    body = _object(principal_id="p-1", principal_label="Ann", metadata={"secret": "x"})
    assert body.keys() == {"model", "messages", "stream", "stream_options"}


def test_the_extra_body_wins() -> None:
    options = OpenAIOptions(extra_body={"temperature": 0.1, "chat_template_kwargs": {"enable_thinking": False}})
    body = _object(options, sampling=Sampling(temperature=2))
    assert body["temperature"] == 0.1
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_the_body_is_utf8_whatever_the_text_holds() -> None:
    body = encode(request_for("m", "é \ud83d \U0001f600"), _OPENAI)
    assert json.loads(body)["messages"][0]["content"] == "é ? \U0001f600"
