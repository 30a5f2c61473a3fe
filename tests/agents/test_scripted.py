"""The agent `scripted`: each script does what its name says, and counts rightly."""

import asyncio
import time
from typing import Any

import pytest

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolCallDelta, Usage
from gateway_project.agents.request import FunctionTool, Message, TextPart, ToolChoice
from gateway_project.agents.scripted import ScriptedAgent
from tests.agents.asking import Run, ask, request_for, text_of

AGENT = ScriptedAgent("scripted", {})
_WEATHER = FunctionTool("weather")


def _end(reason: str, *, input_tokens: int = 2, output_tokens: int) -> list[AgentEvent]:
    return [Usage(input_tokens, output_tokens), Finish(reason)]  # type: ignore[arg-type]


async def test_echo_says_the_last_user_message_word_by_word() -> None:
    said = "  one\n two  three "
    events = await ask(AGENT, "echo", said)
    assert text_of(events) == said
    assert events[-2:] == _end("stop", input_tokens=3, output_tokens=4)


async def test_echo_of_nothing_is_an_empty_answer() -> None:
    messages = (Message("system", (TextPart("be brief"),)),)
    assert await ask(AGENT, "echo", messages=messages) == _end("stop", output_tokens=0)


async def test_count_says_n_words_at_once() -> None:
    assert await ask(AGENT, "count-3") == [
        TextDelta("alpha"),
        TextDelta(" bravo"),
        TextDelta(" charlie"),
        *_end("stop", output_tokens=3),
    ]


async def test_count_zero_says_nothing() -> None:
    assert await ask(AGENT, "count-0") == _end("stop", output_tokens=0)


async def test_slow_waits_before_each_word() -> None:
    before = time.monotonic()
    events = await ask(AGENT, "slow-3x20ms")
    assert time.monotonic() - before >= 0.06
    assert text_of(events) == "alpha bravo charlie"


async def test_think_waits_and_says_one_word() -> None:
    assert await ask(AGENT, "think-1ms") == [TextDelta("done"), *_end("stop", output_tokens=1)]


async def test_tool_calls_the_first_tool() -> None:
    request = request_for("tool", tools=(_WEATHER, FunctionTool("other")))
    run = Run(AGENT, request)
    await run.task
    first, *pieces = run.events[:-2]
    assert first == ToolCallDelta(0, call_id=f"call_{request.run_id.hex}", name="weather")
    assert "".join(piece.arguments for piece in pieces if isinstance(piece, ToolCallDelta)) == '{"city": "Paris"}'
    assert run.events[-2:] == _end("tool_calls", output_tokens=3)


async def test_tool_calls_the_tool_that_is_forced() -> None:
    choice = ToolChoice("function", "other")
    events = await ask(AGENT, "tool", tools=(_WEATHER, FunctionTool("other")), tool_choice=choice)
    assert isinstance(events[0], ToolCallDelta)
    assert events[0].name == "other"


@pytest.mark.parametrize("fields", [{}, {"tools": (_WEATHER,), "tool_choice": ToolChoice("none")}])
async def test_tool_without_a_tool_to_call_says_so(fields: dict[str, Any]) -> None:
    events = await ask(AGENT, "tool", **fields)
    assert text_of(events) == "There is no tool to call."
    assert events[-1] == Finish("stop")


async def test_tool_reads_what_the_tool_said() -> None:
    messages = (Message("user", (TextPart("Weather?"),)), Message("tool", (TextPart("sunny"),), tool_call_id="c"))
    assert text_of(await ask(AGENT, "tool", messages=messages, tools=(_WEATHER,))) == "The tool said: sunny"


@pytest.mark.parametrize(("model", "words"), [("fail", 0), ("fail-after-2", 2)])
async def test_fail_fails_after_its_words(model: str, words: int) -> None:
    run = Run(AGENT, request_for(model))
    await asyncio.wait([run.task])
    with pytest.raises(AgentError) as caught:
        run.task.result()
    assert caught.value.code == "scripted_failure"
    assert len(run.events) == words


# -- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "reason", "words"), [(2, "length", 2), (3, "stop", 3), (4, "stop", 3)])
async def test_the_token_limit_is_exact(limit: int, reason: str, words: int) -> None:
    events = await ask(AGENT, "count-3", max_output_tokens=limit)
    assert events[-2:] == _end(reason, output_tokens=words)
    assert len(text_of(events).split()) == words


@pytest.mark.compliance("Chat Completions", "stop")
@pytest.mark.parametrize(
    ("stop", "text", "words"),
    [
        (("charlie",), "alpha bravo ", 3),
        (("vo ch",), "alpha bra", 3),
        (("delta", "bravo"), "alpha ", 2),
        (("alpha",), "", 1),
        (("delta golf", "delta e"), "alpha bravo charlie delta", 4),
        (("nowhere",), "alpha bravo charlie delta", 4),
    ],
)
async def test_a_stop_sequence_is_not_said(stop: tuple[str, ...], text: str, words: int) -> None:
    events = await ask(AGENT, "count-4", stop=stop)
    assert text_of(events) == text
    assert events[-2:] == _end("stop", output_tokens=words)


# -- abort -----------------------------------------------------------------------------------------------


async def _aborted(model: str) -> Run:
    run = Run(AGENT, request_for(model))
    await asyncio.wait_for(run.said_something.wait(), 30)
    await run.abort()
    return run


async def test_a_script_stops_where_it_waits() -> None:
    run = await _aborted("slow-1000x1ms")
    assert run.task.cancelled()
    assert not any(isinstance(event, Finish) for event in run.events)


async def test_stubborn_ignores_its_cancellation_for_a_while() -> None:
    before = time.monotonic()
    run = await _aborted("stubborn-100ms")
    assert time.monotonic() - before >= 0.1
    assert run.task.cancelled()


async def test_finish_on_cancel_ends_normally() -> None:
    run = await _aborted("finish-on-cancel")
    assert not run.task.cancelled()
    assert text_of(run.events) == "almost done"
    assert run.events[-1] == Finish("stop")


async def test_raise_on_cancel_raises() -> None:
    run = await _aborted("raise-on-cancel")
    assert isinstance(run.task.exception(), RuntimeError)


# -- models ----------------------------------------------------------------------------------------------


def test_every_model_of_the_catalogue_is_there_and_the_default_too() -> None:
    assert all(AGENT.has_model(model) for model in (*AGENT.models(), AGENT.default_model))


@pytest.mark.parametrize("model", ["", "count", "count-x", "count-3 ", "slow-3", "gpt-4o", "count-1234567"])
def test_other_models_are_not(model: str) -> None:
    assert not AGENT.has_model(model)


async def test_a_model_that_is_not_there_is_refused_when_it_is_run_all_the_same() -> None:
    with pytest.raises(AgentError) as caught:
        await ask(AGENT, "gpt-4o")
    assert caught.value.status == 404
