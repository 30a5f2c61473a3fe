"""The real model, no fakes: it answers, it counts, and above all it stops."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.errors import AgentError, ContextOverflow, UnsupportedRequest
from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolCallDelta, Usage
from gateway_project.agents.local import LocalAgent
from gateway_project.agents.local.engine import Engine
from gateway_project.agents.local.prompt import chosen_tool, engine_body
from gateway_project.agents.request import (
    AgentRequest,
    FunctionTool,
    Message,
    RequestedToolCall,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolChoice,
)
from gateway_project.agents.signal import AbortSignal

LONG_PROMPT = " ".join(f"word{i} is nice." for i in range(225))
"""About 1 500 tokens: more than ten seconds of reading."""
WEATHER = FunctionTool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}}, "required": ["city"]},
)


@pytest.fixture(scope="module")
def agent() -> Iterator[LocalAgent]:
    made = LocalAgent("local", {})
    made.load()
    yield made
    made.engine.close()


def request(prompt: str, **more: Any) -> AgentRequest:
    fields: dict[str, Any] = {
        "run_id": ids.new_run_id(),
        "model": "",
        "messages": (Message("user", (TextPart(prompt),)),),
        "max_output_tokens": 12,
        "sampling": Sampling(temperature=0),
    }
    return AgentRequest(**(fields | more))


async def answer(agent: LocalAgent, asked: AgentRequest) -> list[AgentEvent]:
    async with aclosing(agent.run(asked, AbortSignal())) as events:
        return [event async for event in events]


def text(events: list[AgentEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_it_streams_text_and_counts_its_tokens(agent: LocalAgent) -> None:
    events = await answer(agent, request("Tell me about the sea."))
    assert len([event for event in events if isinstance(event, TextDelta)]) > 5
    assert len(text(events)) > 20
    assert events[-2:] == [Finish("length"), Usage(36, 12, cached_tokens=events[-1].cached_tokens)]  # type: ignore[union-attr]


async def test_its_count_is_known_whenever_the_client_leaves(agent: LocalAgent) -> None:
    words = 0
    async with aclosing(agent.run(request("Tell me a long story.", max_output_tokens=200), AbortSignal())) as events:
        async for event in events:
            words += isinstance(event, TextDelta)
            if words == 5 and isinstance(event, Usage):
                break
    assert isinstance(event, Usage)
    assert (event.input_tokens, event.output_tokens >= 5) == (36, True)


async def test_a_stop_sequence_ends_the_answer_before_it(agent: LocalAgent) -> None:
    events = await answer(agent, request("Tell me about the sea.", max_output_tokens=60, stop=(" and",)))
    assert Finish("stop") in events
    assert " and" not in text(events)


async def test_a_seed_reproduces(agent: LocalAgent) -> None:
    asked = request("Tell me a story.", max_output_tokens=30, sampling=Sampling(temperature=1, seed=7))
    first = text(await answer(agent, asked))
    await answer(agent, request("Something else entirely."))
    assert text(await answer(agent, asked)) == first


async def test_a_schema_is_kept_to(agent: LocalAgent) -> None:
    schema = {
        "type": "object",
        "required": ["name", "age"],
        "additionalProperties": False,
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 120}},
    }
    wanted = ResponseFormat("json_schema", name="person", schema=schema)
    events = await answer(agent, request("A person.", max_output_tokens=100, response_format=wanted))
    assert set(json.loads(text(events))) == {"name", "age"}


async def test_a_tool_call_has_arguments_that_fit_its_schema(agent: LocalAgent) -> None:
    asked = request("What is the weather in Paris?", tools=(WEATHER,), max_output_tokens=60)
    events = await answer(agent, asked)
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "get_weather"
    assert json.loads("".join(call.arguments for call in calls))["city"] == "Paris"
    assert Finish("tool_calls") in events


async def test_a_tools_result_is_answered_in_words(agent: LocalAgent) -> None:
    conversation = (
        Message("user", (TextPart("What is the weather in Paris?"),)),
        Message("assistant", tool_calls=(RequestedToolCall("c1", "get_weather", '{"city": "Paris"}'),)),
        Message("tool", (TextPart("sunny, 21 degrees"),), tool_call_id="c1"),
    )
    events = await answer(agent, request("", messages=conversation, tools=(WEATHER,)))
    assert text(events)
    assert not [event for event in events if isinstance(event, ToolCallDelta)]


@pytest.mark.parametrize(
    ("prompt", "choice", "called"),
    [
        ("What's the WEATHER like?", ToolChoice("auto"), "get_weather"),
        ("Tell me a joke about this function.", ToolChoice("auto"), None),
        ("What's the weather like?", ToolChoice("none"), None),
        ("Tell me a joke.", ToolChoice("required"), "get_weather"),
        ("What's the weather like?", ToolChoice("function", "send_mail"), "send_mail"),
    ],
)
def test_which_tool_is_called(prompt: str, choice: ToolChoice, called: str | None) -> None:
    tools = (WEATHER, FunctionTool("send_mail", "Send a mail."))
    tool = chosen_tool(request(prompt, tools=tools, tool_choice=choice))
    assert (tool.name if tool else None) == called


def test_the_template_gets_one_system_message_and_no_tool_role() -> None:
    conversation = (
        Message("user", (TextPart("Hi"),)),
        Message("developer", (TextPart("Be brief."),)),
        Message("system", (TextPart("Be kind."),)),
        Message("assistant", tool_calls=(RequestedToolCall("c1", "f", "{}"),)),
        Message("tool", (TextPart("done"),), tool_call_id="c1"),
    )
    messages = engine_body(request("", messages=conversation), None)["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("system", "Be brief.\n\nBe kind."),
        ("user", "Hi"),
        ("assistant", "f({})"),
        ("user", "The function's result is: done"),
    ]


async def test_log_probabilities_come_with_their_tokens(agent: LocalAgent) -> None:
    events = await answer(agent, request("Say hello.", max_output_tokens=3, logprobs=True, top_logprobs=2))
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert deltas[0].logprobs
    first = deltas[0].logprobs[0]
    assert first.logprob <= 0
    assert len(first.top) == 2
    assert bytes(first.bytes or ()).decode() == first.token


@pytest.mark.compliance("Open Responses", "truncation")
async def test_a_conversation_that_is_too_long_is_refused(agent: LocalAgent) -> None:
    with pytest.raises(ContextOverflow, match="exceeds the available context") as refused:
        await answer(agent, request(LONG_PROMPT * 2))
    assert refused.value.status == 400


async def test_one_that_is_too_long_by_far_never_reaches_the_engine(agent: LocalAgent) -> None:
    many = tuple(Message("user", (TextPart("x"),)) for _ in range(3000))
    for messages in ((Message("user", (TextPart("x" * 5_000_000),)),), many):
        with pytest.raises(ContextOverflow, match="too long for a context of"):
            await answer(agent, replace(request("x"), messages=messages))


async def test_what_the_engine_refuses_is_the_clients_error(agent: LocalAgent) -> None:
    broken = ResponseFormat("json_schema", name="x", schema={"type": "nonsense"})
    with pytest.raises(AgentError) as refused:
        await answer(agent, request("x", response_format=broken))
    assert refused.value.status == 400
    assert refused.value.record_as == "The model refused the request.", "the engine quotes the schema"
    assert text(await answer(agent, request("Hello")))


def test_several_choices_are_refused(agent: LocalAgent) -> None:
    with pytest.raises(UnsupportedRequest) as refused:
        agent.check_request(replace(request("x"), choices=2))
    assert refused.value.param == "choices"


@pytest.mark.parametrize("when", ["while the prompt is read", "in the middle of the answer", "before the first step"])
async def test_an_abort_ends_the_generation_itself(agent: LocalAgent, when: str) -> None:
    reading = when == "while the prompt is read"
    asked = request(LONG_PROMPT if reading else "Tell me a long story.", max_output_tokens=2000)
    first = asyncio.Event()

    async def consume() -> None:
        async with aclosing(agent.run(asked, AbortSignal())) as events:
            async for _ in events:
                first.set()

    task = asyncio.ensure_future(consume())
    if when == "in the middle of the answer":
        await asyncio.wait_for(first.wait(), 120)
    elif reading:
        async with asyncio.timeout(120):
            while agent.engine._activity()[0] == 0:  # noqa: ASYNC110 (the engine has no event for it)
                await asyncio.sleep(0.01)
        assert not first.is_set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # At this moment, not a little later: "stopped" was said.
    processing, batches = agent.engine._activity()
    assert processing == 0
    await asyncio.sleep(0.4)
    assert agent.engine._activity() == (0, batches)
    assert text(await answer(agent, request("Hello")))


async def test_leaving_the_generator_ends_the_generation_too(agent: LocalAgent) -> None:
    events = agent.run(request("Tell me a long story.", max_output_tokens=2000), AbortSignal())
    await anext(events)
    await events.aclose()
    assert agent.engine._activity()[0] == 0


async def test_generating_does_not_hold_up_the_event_loop(agent: LocalAgent) -> None:
    worst = 0.0
    task = asyncio.ensure_future(answer(agent, request("Tell me a long story.", max_output_tokens=60)))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not task.done():
        before = loop.time()
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - before)
    # A call that held the GIL would take all the time that 60 tokens take: a second and more.
    assert worst < (loop.time() - begun) / 2


async def test_a_call_too_many_waits_its_turn(agent: LocalAgent) -> None:
    both = await asyncio.gather(*(answer(agent, request("Hello", max_output_tokens=5)) for _ in range(2)))
    assert all(text(events) for events in both)


def test_wrong_options_are_told() -> None:
    assert list(LocalAgent.check({})) == []
    told = " ".join(LocalAgent.check({"slot": 2, "model_path": "/nowhere.gguf", "threads": "many"}))
    assert "Did you mean 'slots'?" in told
    assert "there is no file '/nowhere.gguf'" in told
    assert "'threads' must be" in told


EXIT = """
import asyncio, sys
from gateway_project.agents.local import LocalAgent
agent = LocalAgent("local", {})
agent.load()

async def main():
    async for _ in agent.engine.chat({"messages": [{"role": "user", "content": "A story."}]}, max_tokens=2000):
        sys.exit(7)

asyncio.run(main())
"""


def test_the_process_ends_cleanly_in_the_middle_of_a_generation() -> None:
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 7, done.stderr


def test_an_engine_that_was_closed_can_be_loaded_again(agent: LocalAgent) -> None:
    engine = Engine(agent.engine.model_path)
    for _ in range(2):
        engine.load()
        assert engine.loaded
        engine.close()
        assert not engine.loaded
