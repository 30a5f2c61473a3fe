"""Requests: what is understood, what is refused, and how it is named."""

from typing import Any

import pytest

from completions.schema import ChatCompletionRequest
from gateway_project import ids
from gateway_project.access.principal import Principal
from gateway_project.agents.request import (
    AgentRequest,
    FunctionTool,
    Message,
    RefusalPart,
    RequestedToolCall,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolChoice,
)
from gateway_project.transport.errors import APIError, InvalidValue
from gateway_project.transport.schema import RunContext, Treatment
from tests import spec

CONTEXT = RunContext(run_id=ids.new_run_id(), model="echo", principal=Principal("api_key", "7", "demo"))
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}, "strict": True}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
HELLO = {"role": "user", "content": "hello"}


def asked(*messages: Any, **body: Any) -> AgentRequest:
    """What an agent is asked by a request with these messages, or one that says hello."""
    payload = {"model": "scripted/echo", "messages": list(messages) or [HELLO], **body}
    return ChatCompletionRequest.parse(payload).agent_request(CONTEXT)


def refusal(*messages: Any, **body: Any) -> APIError:
    """The error of such a request."""
    with pytest.raises(APIError) as caught:
        asked(*messages, **body)
    return caught.value


# -- the table of fields -----------------------------------------------------------------------------------


@pytest.mark.compliance("Chat Completions", "CreateChatCompletionRequest")
def test_the_table_has_a_row_for_every_field_of_the_schema() -> None:
    assert spec.properties(spec.OPENAI_CHAT, "CreateChatCompletionRequest") == set(ChatCompletionRequest.fields_table)


def test_what_is_honoured_is_a_field_and_what_is_refused_is_none() -> None:
    fields = set(ChatCompletionRequest.model_fields)
    rows = ChatCompletionRequest.fields_table.items()
    assert {name for name, row in rows if row.treatment is Treatment.HONOURED} <= fields
    assert not {name for name, row in rows if row.treatment is Treatment.REFUSED} & fields


@pytest.mark.compliance("Chat Completions", "modalities", "audio", "web_search_options", "moderation")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("web_search_options", {}),
        ("moderation", {"model": "omni-moderation-latest"}),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(field: str, value: Any) -> None:
    error = refusal(**{field: value})
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", field)


def test_values_that_ask_for_nothing_are_no_reason_to_refuse() -> None:
    asked(modalities=["text"], audio=None, function_call="auto")


def test_null_is_as_good_as_leaving_a_field_out() -> None:
    nothing = dict.fromkeys(set(ChatCompletionRequest.fields_table) - {"model", "messages"})
    assert asked(**nothing) == asked()


@pytest.mark.compliance("Chat Completions", "CreateChatCompletionRequest")
def test_keys_that_the_schema_does_not_know_are_ignored() -> None:
    assert asked({**HELLO, "cache_control": {}}, repetition_penalty=1.1) == asked()


RECORDED = {
    "metadata": {"order": "17"},
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "c-1",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "auto"},
    "service_tier": "flex",
    "store": True,
}


@pytest.mark.compliance("Chat Completions", "user", "safety_identifier", "metadata", "store", "service_tier")
@pytest.mark.compliance("Chat Completions", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
def test_what_is_recorded_only_goes_into_the_record_as_it_is() -> None:
    rows = ChatCompletionRequest.fields_table.items()
    assert RECORDED.keys() | {"prediction"} == {name for name, row in rows if row.treatment is Treatment.RECORDED}
    body = {"model": "scripted/echo", "messages": [HELLO], **RECORDED}
    request = ChatCompletionRequest.parse(body)
    assert request.recorded(body) == RECORDED
    assert request.agent_request(CONTEXT) == asked(metadata=RECORDED["metadata"])


def test_recorded_fields_go_into_the_record_and_nothing_else_does() -> None:
    body = {"model": "m", "messages": [HELLO], "temperature": 1, "user": "u-1", "store": None, "seed": 3}
    assert ChatCompletionRequest.parse(body).recorded(body) == {"user": "u-1"}


@pytest.mark.compliance("Chat Completions", "prediction")
def test_the_content_of_a_prediction_is_not_recorded() -> None:
    body = {"model": "m", "messages": [HELLO], "prediction": {"type": "content", "content": "secret"}}
    assert ChatCompletionRequest.parse(body).recorded(body) == {"prediction": True}


# -- messages ----------------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Chat Completions", "messages", "ChatCompletionRequestDeveloperMessage", "ChatCompletionRequestUserMessage"
)
def test_a_conversation_keeps_its_order_roles_and_names() -> None:
    messages = asked(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Very "}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "weather?", "name": "ada"},
        {"role": "assistant", "content": "Looking.", "tool_calls": [CALL]},
        RESULT,
        {"role": "assistant", "content": None, "refusal": "I cannot say."},
    ).messages
    assert messages == (
        Message("system", (TextPart("Be brief."),)),
        Message("developer", (TextPart("Very "), TextPart("brief."))),
        Message("user", (TextPart("weather?"),), name="ada"),
        Message("assistant", (TextPart("Looking."),), tool_calls=(RequestedToolCall("call_1", "weather", "{}"),)),
        Message("tool", (TextPart("sunny"),), tool_call_id="call_1"),
        Message("assistant", (RefusalPart("I cannot say."),)),
    )


@pytest.mark.compliance("Chat Completions", "ChatCompletionRequestAssistantMessage")
def test_a_refusal_may_be_a_part() -> None:
    parts = [{"type": "text", "text": "Well, "}, {"type": "refusal", "refusal": "no."}]
    assert asked({"role": "assistant", "content": parts}).messages[0].content == (
        TextPart("Well, "),
        RefusalPart("no."),
    )


@pytest.mark.compliance("Chat Completions", "ChatCompletionRequestAssistantMessage")
def test_a_message_with_calls_needs_no_content() -> None:
    assert asked({"role": "assistant", "tool_calls": [CALL]}, RESULT).messages[0].content == ()
    without_type = {key: value for key, value in CALL.items() if key != "type"}
    assert asked({"role": "assistant", "tool_calls": [without_type]}, RESULT).messages[0].tool_calls


@pytest.mark.compliance("Chat Completions", "ChatCompletionRequestToolMessage")
def test_a_result_that_answers_no_call_is_refused() -> None:
    error = refusal(HELLO, RESULT, {"role": "assistant", "tool_calls": [CALL]})
    assert (error.status, error.param) == (400, "messages[1].tool_call_id")


@pytest.mark.compliance("Chat Completions", "ChatCompletionRequestAssistantMessage")
def test_an_assistant_that_says_and_does_nothing_is_refused() -> None:
    error = refusal(HELLO, {"role": "assistant", "content": None})
    assert (error.status, error.param) == (400, "messages[1].content")


@pytest.mark.compliance("Chat Completions", "tools.custom")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice.type"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL, {"id": "c", "type": "custom", "custom": {}}]}]},
            "messages[0].tool_calls[1].type",
        ),
    ],
)
def test_other_tools_than_functions_are_refused_by_name(body: dict[str, Any], param: str) -> None:
    error = refusal(**body)
    assert (error.code, error.param) == ("unsupported_parameter", param)


@pytest.mark.compliance(
    "Chat Completions",
    "Error",
    "messages",
    "tools",
    "tool_choice",
    "response_format",
    "max_completion_tokens",
    "max_tokens",
    "stop",
    "n",
    "top_logprobs",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "stream",
    "stream_options",
    "metadata",
    "user",
    "safety_identifier",
)
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"seed": 2**63}, "seed"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"verbosity": "chatty"}, "verbosity"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"user": 5}, "user"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(body: dict[str, Any], param: str) -> None:
    error = refusal(**body)
    assert isinstance(error, InvalidValue)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"content": "x"}, "missing_required_parameter"),
        ({"role": "critic", "content": "x"}, "invalid_value"),
        ({"role": None, "content": "x"}, "invalid_value"),
        ({"role": ["user"], "content": "x"}, "invalid_value"),
    ],
)
def test_a_role_that_is_none_is_told_by_its_place(message: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        ChatCompletionRequest.parse({"model": "m", "messages": [HELLO, message]})
    assert (caught.value.code, caught.value.param) == (code, "messages[1].role")


@pytest.mark.compliance("Chat Completions", "model", "messages")
@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_missing_field_is_told_as_missing(field: str) -> None:
    body = {"model": "m", "messages": [HELLO]}
    del body[field]
    with pytest.raises(InvalidValue) as caught:
        ChatCompletionRequest.parse(body)
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", field)


# -- everything else ---------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Chat Completions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_completion_tokens",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "metadata",
)
def test_what_is_honoured_reaches_the_agent() -> None:
    request = asked(
        tools=[WEATHER, {"type": "function", "function": {"name": "time", "description": "Tells it."}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True, "description": "A city."},
        },
        max_completion_tokens=5,
        stop=["\n", "END"],
        n=2,
        logprobs=True,
        top_logprobs=3,
        temperature=0,
        top_p=0.5,
        presence_penalty=1,
        frequency_penalty=-1.5,
        seed=-(2**63),
        logit_bias={"5": -100},
        reasoning_effort="max",
        verbosity="low",
        metadata={"order": "17"},
    )
    assert request == AgentRequest(
        run_id=CONTEXT.run_id,
        model="echo",
        messages=(Message("user", (TextPart("hello"),)),),
        tools=(FunctionTool("weather", None, {"type": "object"}, True), FunctionTool("time", "Tells it.")),
        tool_choice=ToolChoice("function", "weather"),
        parallel_tool_calls=False,
        response_format=ResponseFormat("json_schema", "city", {"type": "object"}, True, "A city."),
        max_output_tokens=5,
        stop=("\n", "END"),
        sampling=Sampling(
            temperature=0,
            top_p=0.5,
            presence_penalty=1,
            frequency_penalty=-1.5,
            seed=-(2**63),
            logit_bias={"5": -100},
        ),
        choices=2,
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="max",
        verbosity="low",
        metadata={"order": "17"},
        principal_id="7",
        principal_label="demo",
    )


def test_the_smallest_request_leaves_every_choice_to_the_agent() -> None:
    assert asked() == AgentRequest(
        run_id=CONTEXT.run_id,
        model="echo",
        messages=(Message("user", (TextPart("hello"),)),),
        principal_id="7",
        principal_label="demo",
    )


@pytest.mark.compliance("Chat Completions", "tool_choice")
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_tool_choices_by_word(choice: Any) -> None:
    assert asked(tools=[WEATHER], tool_choice=choice).tool_choice == ToolChoice(choice)


@pytest.mark.compliance("Chat Completions", "tool_choice")
def test_a_choice_must_be_among_the_tools() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    assert refusal(tools=[WEATHER], tool_choice=other).param == "tool_choice"
    assert refusal(tool_choice="required").param == "tool_choice"


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_formats_by_word(kind: Any) -> None:
    assert asked(response_format={"type": kind}).response_format == ResponseFormat(kind)


@pytest.mark.compliance("Chat Completions", "max_completion_tokens", "max_tokens")
def test_the_new_name_of_the_token_limit_goes_before_the_old() -> None:
    assert asked(max_tokens=3).max_output_tokens == 3
    assert asked(max_tokens=3, max_completion_tokens=2).max_output_tokens == 2


@pytest.mark.compliance("Chat Completions", "stop")
def test_one_stop_sequence_may_be_a_string() -> None:
    assert asked(stop="END").stop == ("END",)


@pytest.mark.compliance("Chat Completions", "stream_options.include_usage")
def test_usage_in_a_stream_is_asked_for() -> None:
    def include_usage(**body: Any) -> bool:
        return ChatCompletionRequest.parse({"model": "m", "messages": [HELLO], **body}).include_usage

    assert include_usage(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}) is True
    assert include_usage(stream=True, stream_options={}) is False
    assert include_usage(stream=True) is False


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.compliance("Chat Completions", "tool_choice.allowed_tools")
def test_allowed_tools_bound_the_choice() -> None:
    request = asked(tools=TOOLS, tool_choice=allowed("required", "time"))
    assert request.tool_choice == ToolChoice("required", allowed=frozenset({"time"}))
    assert [tool.name for tool in request.tools] == ["weather", "time"]
    assert [tool.name for tool in request.callable_tools] == ["time"]


def test_what_is_allowed_must_be_offered() -> None:
    error = refusal(tools=TOOLS, tool_choice=allowed("auto", "time", "place"))
    assert (error.code, error.param) == ("invalid_value", "tool_choice.allowed_tools.tools[1]")


@pytest.mark.compliance("Chat Completions", "functions", "function_call", "ChatCompletionRequestFunctionMessage")
def test_functions_are_tools_in_their_old_form() -> None:
    request = asked(
        HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "sunny"},
        functions=[{"name": "weather", "parameters": {"type": "object"}}],
        function_call={"name": "weather"},
    )
    assert request.tools == (FunctionTool("weather", None, {"type": "object"}),)
    assert request.tool_choice == ToolChoice("function", "weather")
    assert not request.parallel_tool_calls
    call = request.messages[1].tool_calls[0]
    assert (call.name, request.messages[2].tool_call_id) == ("weather", call.call_id)


@pytest.mark.compliance("Chat Completions", "functions", "function_call")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"functions": [{"name": "a"}], "tools": TOOLS}, "functions"),
        ({"functions": [{"name": "a"}], "tool_choice": "auto"}, "functions"),
        ({"functions": [{"name": "a"}], "function_call": {"name": "b"}}, "function_call"),
        ({"function_call": {"name": "b"}}, "function_call"),
        ({"functions": []}, "functions"),
        ({"functions": [{}]}, "functions[0].name"),
        ({"messages": [HELLO, {"role": "function", "name": "weather", "content": "sunny"}]}, "messages[1].name"),
    ],
)
def test_a_wrong_use_of_functions_is_told(body: dict[str, Any], param: str) -> None:
    assert refusal(**body).param == param
