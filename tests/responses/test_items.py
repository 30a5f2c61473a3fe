"""The input: items become messages, and what is not supported is refused where it stands."""

from typing import Any

import pytest
from django.test import override_settings

from gateway_project.agents.request import Message, RefusalPart, RequestedToolCall, TextPart
from gateway_project.transport.errors import UnsupportedParameter
from responses import compaction
from tests.e2e.config import CONFIG
from tests.responses.asking import CALL, RESULT, asked, refusal, user


@pytest.mark.compliance("Open Responses", "input")
def test_a_string_is_one_user_message() -> None:
    assert asked(input="hello").messages == (Message("user", (TextPart("hello"),)),)


@pytest.mark.compliance("Open Responses", "instructions")
def test_instructions_lead_as_a_system_message() -> None:
    assert asked(instructions="Be brief.").messages == (
        Message("system", (TextPart("Be brief."),)),
        Message("user", (TextPart("hello"),)),
    )


def test_empty_instructions_are_none() -> None:
    assert asked(instructions="").messages == asked().messages


@pytest.mark.compliance(
    "Open Responses", "ItemParam", "UserMessageItemParam", "AssistantMessageItemParam", "SystemMessageItemParam"
)
@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
def test_a_message_needs_no_type(role: str) -> None:
    typed = {"type": "message", "role": role, "content": "hi"}
    assert asked(input=[typed]).messages == asked(input=[{"role": role, "content": "hi"}]).messages
    assert asked(input=[typed]).messages[0].role == role


@pytest.mark.compliance("Open Responses", "InputTextContentParam", "UserMessageItemParam", "AssistantMessageItemParam")
def test_parts_of_a_message_keep_their_order_and_kind() -> None:
    said = [
        {"type": "output_text", "text": "I ", "annotations": [], "logprobs": []},
        {"type": "output_text", "text": "thought"},
        {"type": "refusal", "refusal": "but no"},
    ]
    question = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert asked(input=[{"role": "user", "content": question}, {"role": "assistant", "content": said}]).messages == (
        Message("user", (TextPart("a"), TextPart("b"))),
        Message("assistant", (TextPart("I "), TextPart("thought"), RefusalPart("but no"))),
    )


@pytest.mark.compliance("Open Responses", "ItemParam", "ReasoningItemParam", "phase")
def test_items_of_an_answer_are_taken_back_as_they_were_sent() -> None:
    answer = [
        {"type": "reasoning", "id": "rs_1", "status": "completed", "summary": [], "content": []},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "Looking.", "annotations": [], "logprobs": []}],
        },
        {**CALL, "id": "fc_1", "status": "completed", "parsed_arguments": {}},
    ]
    assert asked(input=[user("weather?"), *answer, RESULT]).messages == (
        Message("user", (TextPart("weather?"),)),
        Message("assistant", (TextPart("Looking."),), tool_calls=(RequestedToolCall("call_1", "weather", "{}"),)),
        Message("tool", (TextPart("sunny"),), tool_call_id="call_1"),
    )


@pytest.mark.compliance("Open Responses", "FunctionCallItemParam")
def test_parallel_calls_are_one_assistant_message() -> None:
    second = {**CALL, "call_id": "call_2"}
    messages = asked(input=[user("x"), CALL, second, RESULT, {**RESULT, "call_id": "call_2"}]).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [call.call_id for call in messages[1].tool_calls] == ["call_1", "call_2"]


@pytest.mark.compliance("Open Responses", "FunctionCallItemParam")
def test_calls_with_a_result_between_them_are_two_assistant_messages() -> None:
    messages = asked(input=[CALL, RESULT, {**CALL, "call_id": "call_2"}]).messages
    assert [message.role for message in messages] == ["assistant", "tool", "assistant"]


@pytest.mark.compliance("Open Responses", "FunctionCallItemParam")
def test_text_behind_calls_stays_in_their_message_since_results_must_follow_it() -> None:
    said = {"role": "assistant", "content": "One moment."}
    messages = asked(input=[{**said, "content": "Looking."}, CALL, said, RESULT, said]).messages
    assert [(message.role, message.text) for message in messages] == [
        ("assistant", "Looking.One moment."),
        ("tool", "sunny"),
        ("assistant", "One moment."),
    ]
    assert [len(message.tool_calls) for message in messages] == [1, 0, 0]


@pytest.mark.compliance("Open Responses", "FunctionCallOutputItemParam")
def test_a_result_may_come_in_parts() -> None:
    parts = [{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "ny"}]
    assert asked(input=[CALL, {**RESULT, "output": parts}]).messages[-1].text == "sunny"


def test_call_ids_longer_than_the_schema_allows_are_taken_back() -> None:
    long = "call_" + "x" * 200
    assert asked(input=[{**CALL, "call_id": long}, {**RESULT, "call_id": long}]).messages[1].tool_call_id == long


@pytest.mark.compliance("Open Responses", "FunctionCallOutputItemParam")
@pytest.mark.parametrize("before", [[], [{**CALL, "call_id": "call_other"}]])
def test_a_result_that_answers_no_call_is_refused(before: list[Any]) -> None:
    error = refusal(input=[*before, RESULT, CALL])
    assert (error.status, error.param) == (400, f"input[{len(before)}].call_id")


@pytest.mark.compliance("Open Responses", "input")
@pytest.mark.parametrize("empty", [[], [{"type": "reasoning", "summary": []}]])
def test_an_input_with_nothing_to_answer_is_refused(empty: list[Any]) -> None:
    error = refusal(input=empty)
    assert (error.status, error.param) == (400, "input")


@pytest.mark.compliance("Open Responses", "input")
def test_a_missing_input_is_told_as_missing() -> None:
    assert (refusal(input=None).code, refusal(input=None).param) == ("missing_required_parameter", "input")


@pytest.mark.compliance("Open Responses", "ItemParam", "Extensions")
@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "acme:telemetry", "id": "x"},
    ],
)
def test_items_that_are_not_supported_are_refused_by_name(item: dict[str, Any]) -> None:
    error = refusal(input=[user("x"), item])
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "input[1].type"
    assert item["type"] in error.message


@pytest.mark.compliance("Open Responses", "ItemParam")
@pytest.mark.parametrize("kind", [[], {}, ["message"], 1, True, 1.5])
def test_what_is_no_name_of_a_type_is_refused(kind: Any) -> None:
    error = refusal(input=[{"type": kind, "role": "user", "content": "x"}])
    assert (error.status, error.param) == (400, "input[0].type")


@pytest.mark.compliance("Open Responses", "ItemReferenceParam")
@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
def test_a_reference_to_nothing_is_told(reference: dict[str, Any]) -> None:
    error = refusal(input=[user("x"), reference])
    assert (error.code, error.param) == ("item_not_found", "input[1].id")


@pytest.mark.compliance("Open Responses", "CompactionSummaryItemParam")
def test_a_compaction_stands_for_what_was_said_before() -> None:
    request = asked(input=[{"type": "compaction", "encrypted_content": compaction.sealed("They greeted.")}, user("x")])
    assert request.messages[0].role == "system"
    assert request.messages[0].text.endswith("They greeted.")


@pytest.mark.compliance("Open Responses", "CompactionSummaryItemParam")
@pytest.mark.parametrize("forge", ["x", "", "a:b:c", "{sealed}y"])
def test_a_compaction_that_was_not_made_here_is_refused(forge: str) -> None:
    content = forge.format(sealed=compaction.sealed("x"))
    error = refusal(input=[{"type": "compaction", "encrypted_content": content}])
    assert (error.code, error.param) == ("invalid_value", "input[0].encrypted_content")


@pytest.mark.compliance("Open Responses", "CompactionSummaryItemParam")
@override_settings(GATEWAY=CONFIG | {"LIMITS": {"BODY_BYTES": 10_000}})
def test_compactions_are_together_no_larger_than_a_body_may_be_however_small_they_come() -> None:
    def compacted(*lengths: int) -> list[dict[str, Any]]:
        return [{"type": "compaction", "encrypted_content": compaction.sealed("a" * length)} for length in lengths]

    assert len(asked(input=compacted(4000, 4000)).messages) == 2
    for lengths in ((100_000_000,), (4000, 4000, 4000)):
        error = refusal(input=compacted(*lengths))
        assert (error.code, error.param) == ("invalid_value", "input")
