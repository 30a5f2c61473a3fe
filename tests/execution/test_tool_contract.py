"""What a request says of tools holds for its answer, whatever the agent does."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.errors import ToolChoiceNotSatisfied
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.request import AgentRequest, FunctionTool, Message, TextPart, ToolChoice
from gateway_project.execution.tool_contract import ToolContract

TOOLS = (FunctionTool("weather"), FunctionTool("time"))
TEXT = TextDelta("Let me see.")
WEATHER = ToolCall("call_1", "weather", "{}")
TIME = ToolCall("call_2", "time", "{}")
FINISH = Finish("tool_calls")


def let_through(choice: ToolChoice, *events: AgentEvent, **limits: Any) -> tuple[Sequence[AgentEvent], list[str]]:
    """What goes out of an answer, and which calls were dropped."""
    request = AgentRequest(
        run_id=ids.new_run_id(),
        model="",
        messages=(Message("user", (TextPart("hello"),)),),
        tools=TOOLS,
        tool_choice=choice,
        **limits,
    )
    dropped: list[str] = []
    contract = ToolContract(request, dropped.append)
    return [admitted for event in events for admitted in contract.admit(event)], dropped


@pytest.mark.parametrize("event", [TEXT, WEATHER, ToolCallDelta(7, "{}"), Finish(), FINISH, Usage(1, 1)])
def test_a_request_that_asks_for_nothing_lets_everything_through(event: AgentEvent) -> None:
    assert let_through(ToolChoice(), event) == ([event], [])


@pytest.mark.compliance("Chat Completions", "tool_choice.required")
@pytest.mark.compliance("Open Responses", "tool_choice.required", "tool_choice.function")
@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("function", "weather")])
def test_where_a_call_is_required_a_text_alone_is_an_error_and_not_a_word_of_it_goes_out(choice: ToolChoice) -> None:
    assert let_through(choice, TEXT, TEXT) == ([], [])
    with pytest.raises(ToolChoiceNotSatisfied):
        let_through(choice, TEXT, Finish())
    with pytest.raises(ToolChoiceNotSatisfied):
        let_through(choice, Finish())


@pytest.mark.compliance("Chat Completions", "tool_choice.required")
@pytest.mark.compliance("Open Responses", "tool_choice.required")
def test_text_before_a_required_call_goes_out_with_it_and_in_order() -> None:
    phase = MessagePhase("commentary")
    out, _ = let_through(ToolChoice("required"), phase, TEXT, WEATHER, TEXT, FINISH)
    assert out == [phase, TEXT, WEATHER, TEXT, FINISH]


def test_reasoning_and_refusals_are_not_held_back() -> None:
    reasoning, refusal = ReasoningDelta("Hm."), RefusalDelta("No.")
    assert let_through(ToolChoice("required"), reasoning, refusal, Finish())[0] == [reasoning, refusal, Finish()]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_short_says_so_itself(reason: Any) -> None:
    assert let_through(ToolChoice("required"), TEXT, Finish(reason))[0] == [Finish(reason)]


@pytest.mark.compliance("Chat Completions", "tool_choice.allowed_tools")
@pytest.mark.compliance("Open Responses", "tool_choice.function", "tool_choice.allowed_tools")
@pytest.mark.parametrize("choice", [ToolChoice("function", "time"), ToolChoice(allowed=frozenset({"time"}))])
def test_calls_of_other_tools_are_dropped(choice: ToolChoice) -> None:
    assert let_through(choice, WEATHER, TIME, FINISH) == ([TIME, FINISH], ["weather"])


@pytest.mark.compliance("Chat Completions", "tool_choice.none")
@pytest.mark.compliance("Open Responses", "tool_choice.none")
def test_where_no_call_may_be_an_answer_of_calls_alone_is_an_error() -> None:
    assert let_through(ToolChoice("none"), TEXT, WEATHER, FINISH) == ([TEXT, Finish("stop")], ["weather"])
    with pytest.raises(ToolChoiceNotSatisfied):
        let_through(ToolChoice("none"), WEATHER, FINISH)


@pytest.mark.compliance("Chat Completions", "parallel_tool_calls")
@pytest.mark.compliance("Open Responses", "parallel_tool_calls")
def test_without_parallel_calls_the_first_is_the_only_one() -> None:
    assert let_through(ToolChoice(), WEATHER, TIME, FINISH, parallel_tool_calls=False) == ([WEATHER, FINISH], ["time"])


@pytest.mark.compliance("Open Responses", "max_tool_calls")
def test_calls_beyond_the_bound_are_dropped() -> None:
    assert let_through(ToolChoice(), WEATHER, TIME, TIME, FINISH, max_tool_calls=2)[0] == [WEATHER, TIME, FINISH]


def test_calls_in_pieces_are_dropped_whole_and_the_others_numbered_anew() -> None:
    pieces = [
        ToolCallDelta(0, "", "call_1", "weather"),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, "", "call_2", "time"),
        ToolCallDelta(1, "{}"),
    ]
    out, dropped = let_through(ToolChoice(allowed=frozenset({"time"})), *pieces, FINISH)
    assert out == [ToolCallDelta(0, "", "call_2", "time"), ToolCallDelta(0, "{}"), FINISH]
    assert dropped == ["weather"]


def test_each_choice_of_an_answer_must_keep_to_it() -> None:
    with pytest.raises(ToolChoiceNotSatisfied):
        let_through(ToolChoice("required"), WEATHER, FINISH, TextDelta("a", choice=1), Finish(choice=1), choices=2)
