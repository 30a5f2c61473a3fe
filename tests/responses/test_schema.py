"""Requests: what is understood, what is refused, and how it is named."""

from typing import Any

import pytest

from gateway_project.agents.request import (
    AgentRequest,
    FunctionTool,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolChoice,
)
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Treatment
from responses.schema import ResponseRequest
from tests import spec
from tests.responses.asking import CALL, CONTEXT, SCHEMA_FORMAT, WEATHER, asked, refusal

ONLY_IN_THE_ANSWER = {
    "id",
    "object",
    "status",
    "created_at",
    "completed_at",
    "error",
    "incomplete_details",
    "output",
    "output_text",
    "usage",
}


# -- the table of fields -----------------------------------------------------------------------------------


@pytest.mark.compliance("Open Responses", "CreateResponseBody")
def test_the_table_has_a_row_for_every_field_of_open_responses() -> None:
    assert spec.properties(spec.OPEN_RESPONSES, "CreateResponseBody") <= set(ResponseRequest.fields_table)


def test_the_table_has_a_row_for_every_field_that_a_request_shares_with_openais_response() -> None:
    # OpenAI's file of the stored responses does not hold the request itself.
    shared = spec.properties(spec.OPENAI_RESPONSES, "Response") - ONLY_IN_THE_ANSWER
    assert {"conversation", "prompt", "user"} < shared
    assert shared <= set(ResponseRequest.fields_table)


def test_what_is_honoured_is_a_field_and_what_is_refused_is_none() -> None:
    fields = set(ResponseRequest.model_fields)
    rows = ResponseRequest.fields_table.items()
    assert {name for name, row in rows if row.treatment is Treatment.HONOURED} <= fields
    assert not {name for name, row in rows if row.treatment is Treatment.REFUSED} & fields


@pytest.mark.compliance("OpenAI Responses", "conversation", "prompt", "moderation")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conversation", "conv_1"),
        ("prompt", {"id": "pmpt_1"}),
        ("moderation", {"model": "omni-moderation-latest"}),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(field: str, value: Any) -> None:
    error = refusal(**{field: value})
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", field)


def test_values_that_ask_for_nothing_are_no_reason_to_refuse() -> None:
    asked(background=False, previous_response_id=None, conversation=None, prompt=None)


def test_null_is_as_good_as_leaving_a_field_out() -> None:
    nothing = dict.fromkeys(set(ResponseRequest.fields_table) - {"model", "input"})
    assert asked(**nothing) == asked()


RECORDED = {
    "metadata": {"order": "17"},
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "c-1",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "auto"},
    "service_tier": "flex",
}


@pytest.mark.compliance(
    "Open Responses", "metadata", "safety_identifier", "prompt_cache_key", "service_tier", "CreateResponseBody"
)
@pytest.mark.compliance("OpenAI Responses", "user", "prompt_cache_retention", "prompt_cache_options")
def test_what_is_recorded_only_goes_into_the_record_as_it_is() -> None:
    rows = ResponseRequest.fields_table.items()
    assert RECORDED.keys() == {name for name, row in rows if row.treatment is Treatment.RECORDED}
    body = {"model": "scripted/echo", "input": "hello", **RECORDED}
    request = ResponseRequest.parse(body)
    assert request.recorded(body) == RECORDED
    assert request.agent_request(CONTEXT) == asked(metadata=RECORDED["metadata"])


def test_recorded_fields_go_into_the_record_and_nothing_else_does() -> None:
    body = {"model": "m", "input": "secret", "instructions": "secret", "user": "u-1", "metadata": {"a": "b"}}
    request = ResponseRequest.parse({**body, "service_tier": "flex", "store": None})
    recorded = request.recorded({**body, "service_tier": "flex", "store": None})
    assert recorded == {"user": "u-1", "metadata": {"a": "b"}, "service_tier": "flex"}


@pytest.mark.compliance(
    "Open Responses",
    "ErrorPayload",
    "input",
    "ItemParam",
    "FunctionCallItemParam",
    "tools",
    "tool_choice",
    "text",
    "max_output_tokens",
    "max_tool_calls",
    "top_logprobs",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "truncation",
    "reasoning",
    "store",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
)
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 3}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"x": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}]}, "input[0].content[0].type"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{**CALL, "call_id": ""}]}, "input[0].call_id"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"name": "weather"}]}, "tools[0].type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"verbosity": "chatty"}}, "text.verbosity"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"truncation": "some"}, "truncation"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"store": "yes"}, "store"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
        ({"prompt_cache_key": "x" * 65}, "prompt_cache_key"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(body: dict[str, Any], param: str) -> None:
    error = refusal(**body)
    assert isinstance(error, InvalidValue)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "weather"}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice.name"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "input_text": "Hi"}]}]},
            "input[0].content[0].text",
        ),
    ],
)
def test_what_is_missing_is_told_by_its_own_place_where_a_key_has_the_types_name(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        ResponseRequest.parse({"model": "scripted/echo", "input": "Hi", **body})
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", param)


@pytest.mark.compliance("Open Responses", "model")
def test_a_missing_model_is_told() -> None:
    with pytest.raises(InvalidValue) as caught:
        ResponseRequest.parse({"input": "x"})
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "model")


# -- everything else ---------------------------------------------------------------------------------------


@pytest.mark.compliance(
    "Open Responses",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "max_output_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "include",
    "reasoning",
    "metadata",
)
def test_what_is_honoured_reaches_the_agent() -> None:
    request = asked(
        tools=[WEATHER, {"type": "function", "name": "time", "description": "Tells it."}],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        text={"format": SCHEMA_FORMAT, "verbosity": "low"},
        max_output_tokens=16,
        temperature=0,
        top_p=0.5,
        presence_penalty=1,
        frequency_penalty=-1.5,
        top_logprobs=3,
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        reasoning={"effort": "max", "summary": "concise"},
        metadata={"order": "17"},
    )
    assert request == AgentRequest(
        run_id=CONTEXT.run_id,
        model="echo",
        messages=(Message("user", (TextPart("hello"),)),),
        tools=(FunctionTool("weather", None, {"type": "object"}, True), FunctionTool("time", "Tells it.")),
        tool_choice=ToolChoice("function", "weather"),
        parallel_tool_calls=False,
        response_format=ResponseFormat("json_schema", "city", {"type": "object"}, True),
        max_output_tokens=16,
        sampling=Sampling(temperature=0, top_p=0.5, presence_penalty=1, frequency_penalty=-1.5),
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="max",
        reasoning_summary="concise",
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


@pytest.mark.compliance("Open Responses", "tool_choice")
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_tool_choices_by_word(choice: Any) -> None:
    assert asked(tools=[WEATHER], tool_choice=choice).tool_choice == ToolChoice(choice)


@pytest.mark.compliance("Open Responses", "text")
@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_formats_by_word(kind: Any) -> None:
    assert asked(text={"format": {"type": kind}}).response_format == ResponseFormat(kind)


@pytest.mark.compliance("OpenAI Responses", "reasoning.generate_summary")
def test_the_old_name_of_the_reasoning_summary_is_understood() -> None:
    assert asked(reasoning={"generate_summary": "auto"}).reasoning_summary == "auto"


@pytest.mark.compliance("Open Responses", "top_logprobs", "include")
def test_logprobs_come_only_when_they_are_included() -> None:
    assert asked(top_logprobs=5).logprobs is False
    assert asked(include=["message.output_text.logprobs"]).logprobs is True


@pytest.mark.compliance("Open Responses", "truncation", "store")
@pytest.mark.parametrize("truncation", ["auto", "disabled"])
@pytest.mark.parametrize("store", [True, False])
def test_truncation_and_store_may_say_what_the_schema_lets_them(truncation: str, store: bool) -> None:
    asked(truncation=truncation, store=store)


@pytest.mark.compliance("Open Responses", "CreateResponseBody", "stream_options")
@pytest.mark.compliance("OpenAI Responses", "include_obfuscation")
def test_keys_that_no_schema_knows_are_ignored() -> None:
    assert asked(client_metadata={"x": "y"}, stream_options={"include_obfuscation": False, "new": 1}) == asked()


@pytest.mark.compliance("Open Responses", "tools (hosted)")
def test_tools_that_the_server_would_have_to_run_are_left_out_and_the_record_says_so() -> None:
    body = {
        "model": "scripted/echo",
        "input": "hello",
        "tools": [WEATHER, {"type": "web_search"}],
        "client_metadata": {},
    }
    request = ResponseRequest.parse(body)
    assert [tool.name for tool in request.agent_request(CONTEXT).tools] == ["weather"]
    assert request.recorded(body) == {"tools_left_out": ["web_search"], "unknown_keys": ["client_metadata"]}


@pytest.mark.compliance("Open Responses", "tools (hosted)")
@pytest.mark.compliance("OpenAI Responses", "CustomToolParam")
@pytest.mark.parametrize("kind", ["web_search", "custom"])
def test_choices_that_ask_for_one_of_them_are_refused_by_name(kind: str) -> None:
    error = refusal(tools=[WEATHER, {"type": kind}], tool_choice={"type": kind})
    assert (error.code, error.param) == ("unsupported_parameter", "tool_choice.type")
    error = refusal(tools=[WEATHER, {"type": kind}], tool_choice={"type": "allowed_tools", "tools": [{"type": kind}]})
    assert (error.code, error.param) == ("unsupported_parameter", "tool_choice.tools[0].type")
    assert refusal(tools=[{"type": kind}], tool_choice="required").param == "tool_choice"


@pytest.mark.compliance("Open Responses", "tool_choice.allowed_tools")
def test_allowed_tools_bound_the_choice() -> None:
    named = {"type": "function", "name": "weather"}
    request = asked(tools=[WEATHER], tool_choice={"type": "allowed_tools", "mode": "required", "tools": [named]})
    assert request.tool_choice == ToolChoice("required", allowed=frozenset({"weather"}))
    error = refusal(tools=[WEATHER], tool_choice={"type": "allowed_tools", "tools": [named, {**named, "name": "x"}]})
    assert (error.code, error.param) == ("invalid_value", "tool_choice.tools[1].name")


@pytest.mark.compliance("Open Responses", "tool_choice")
def test_a_choice_must_be_among_the_tools() -> None:
    assert refusal(tools=[WEATHER], tool_choice={"type": "function", "name": "other"}).param == "tool_choice.name"
    assert refusal(tool_choice="required").param == "tool_choice"


@pytest.mark.compliance("Open Responses", "include")
def test_what_cannot_be_included_is_refused_by_its_place() -> None:
    error = refusal(include=["message.output_text.logprobs", "moon_phase"])
    assert (error.code, error.param) == ("unsupported_parameter", "include[1]")
