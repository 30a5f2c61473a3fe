"""The agent `function`: a shop's own async function or async generator."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolActivity, ToolCall, Usage
from gateway_project.agents.function import FunctionAgent
from tests.agents import functions
from tests.agents.asking import Run, ask, request_for, text_of


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    functions.log.clear()
    functions.started = asyncio.Event()
    yield


def _agent(name: str, **options: Any) -> FunctionAgent:
    return FunctionAgent("shop", {"function": f"tests.agents.functions.{name}"} | options)


async def test_what_an_async_function_returns_is_the_answer() -> None:
    assert await ask(_agent("answer"), "", "Hello") == [TextDelta("You said: Hello"), Finish("stop")]


async def test_strings_are_pieces_of_text_and_the_finish_is_added() -> None:
    assert await ask(_agent("stream"), "") == [TextDelta("a"), TextDelta("b"), Finish("stop")]


async def test_a_character_that_was_cut_in_two_is_joined() -> None:
    pieces = [TextDelta("a"), TextDelta("😀"), TextDelta("b"), TextDelta("\ufffd")]
    assert await ask(_agent("halves"), "") == [*pieces, Finish("stop")]


async def test_events_pass_and_a_finish_is_not_added_twice() -> None:
    assert await ask(_agent("events"), "") == [
        ToolActivity("search", "started"),
        TextDelta("x"),
        TextDelta("y"),
        Finish("length"),
        Usage(1, 2),
    ]


async def test_after_a_tool_call_the_added_finish_says_so() -> None:
    assert await ask(_agent("calls"), "") == [ToolCall("call_1", "weather", "{}"), Finish("tool_calls")]


async def test_every_choice_is_finished() -> None:
    events = await ask(_agent("two_choices"), "", choices=2)
    assert events[-2:] == [Finish("length", 1), Finish("stop", 0)]


async def test_an_answer_may_be_empty() -> None:
    assert await ask(_agent("silent"), "") == [Finish("stop")]


@pytest.mark.parametrize("name", ["instance", "method", "bound"])
async def test_whatever_is_called_as_an_async_function_will_do(name: str) -> None:
    assert list(FunctionAgent.check({"function": f"tests.agents.functions.{name}"})) == []
    assert text_of(await ask(_agent(name), "")).startswith("from a")


# -- abort -----------------------------------------------------------------------------------------------


async def _aborted(name: str) -> tuple[Run, list[AgentEvent]]:
    run = Run(_agent(name), request_for(""))
    await asyncio.wait_for(functions.started.wait(), 30)
    await run.abort()
    return run, run.events


async def test_an_abort_cancels_a_generator_where_it_awaits() -> None:
    run, events = await _aborted("waits")
    assert run.task.cancelled()
    assert events == [TextDelta("begun")]
    assert functions.log == ["cleaned up: client_disconnect"]


async def test_an_abort_cancels_a_coroutine() -> None:
    run, events = await _aborted("waits_whole")
    assert run.task.cancelled()
    assert events == []


async def test_one_that_yields_empty_pieces_without_end_lets_others_have_their_turn() -> None:
    run = Run(_agent("empty_pieces"), request_for(""))
    for _ in range(5):
        await asyncio.sleep(0)
    await run.abort()
    assert run.task.cancelled()
    assert run.events == []


async def test_a_generator_that_ends_quietly_when_cancelled_has_not_finished() -> None:
    run, events = await _aborted("ends_quietly")
    assert not run.task.cancelled()
    assert events == []


@pytest.mark.parametrize("name", ["finishes_all_the_same", "returns_all_the_same"])
async def test_an_answer_in_spite_of_the_abort_counts(name: str) -> None:
    _, events = await _aborted(name)
    assert events == [TextDelta("saved"), Finish("stop")]


# -- what goes wrong -------------------------------------------------------------------------------------


async def test_a_wrong_type_is_an_error_that_names_function_and_type_and_closes_the_generator() -> None:
    run = Run(_agent("yields_bytes"), request_for(""))
    await asyncio.wait([run.task])
    with pytest.raises(TypeError, match=r"functions\.yields_bytes yielded a value of type bytes"):
        run.task.result()
    assert run.events == [TextDelta("good")]
    assert functions.log == ["closed"]


async def test_a_coroutine_must_return_a_string() -> None:
    with pytest.raises(TypeError, match=r"functions\.returns_nothing returned a value of type NoneType"):
        await ask(_agent("returns_nothing"), "")


async def test_what_the_function_raises_goes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="shop"):
        await ask(_agent("raises"), "")


# -- options ---------------------------------------------------------------------------------------------


def test_an_agent_supports_what_its_options_say_and_else_plain_text_only() -> None:
    plain, able = _agent("answer"), _agent("answer", supports=["tools", "json_schema"], models=["a", "b"])
    assert not plain.supports_tools
    assert able.supports_tools
    assert able.supports_json_schema
    assert not able.supports_choices
    assert (plain.models(), able.models()) == ((), ("a", "b"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "'function' is missing."),
        ({"function": 3}, "'function' must be a string, not int."),
        ({"funktion": "x"}, "'funktion' is not a known option. Did you mean 'function'?"),
        ({"function": "answer"}, "'function': 'answer' is no dotted path, such as 'shop.agents.answer'."),
        (
            {"function": "tests.agents.functions.anwser"},
            "'function': no 'anwser' in the module 'tests.agents.functions'. Did you mean 'answer'?",
        ),
        (
            {"function": "tests.agents.function.answer"},
            "'function': no module 'tests.agents.function'. Did you mean 'functions'?",
        ),
        ({"function": "tests.agent.functions.answer"}, "'function': no module 'tests.agent'. Did you mean 'agents'?"),
        (
            {"function": "tests.agents.functions.plain"},
            "'function': 'tests.agents.functions.plain' is a plain function; "
            "it must be an async function or an async generator function.",
        ),
        (
            {"function": "tests.agents.functions.Callable"},
            "'function': 'tests.agents.functions.Callable' is a value of type type; "
            "it must be an async function or an async generator function.",
        ),
        (
            {"function": "tests.agents.functions.one_argument"},
            "'function': 'tests.agents.functions.one_argument' must take two arguments: (request, signal).",
        ),
        (
            {"function": "tests.agents.functions.answer", "supports": ["tool"]},
            "'supports' does not know 'tool'. Did you mean 'tools'?",
        ),
    ],
)
def test_wrong_options_are_told_at_the_start(options: dict[str, Any], sentence: str) -> None:
    assert sentence in list(FunctionAgent.check(options))


def test_an_import_that_fails_inside_the_module_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_with_a_hole.py").write_text("import shop_dependency_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    (sentence,) = FunctionAgent.check({"function": "shop_with_a_hole.answer"})
    assert sentence == "'function': No module named 'shop_dependency_that_is_missing'"


def test_the_function_is_imported_at_the_first_use_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_of_late.py").write_text("async def answer(request, signal): return 'x'\n")
    monkeypatch.syspath_prepend(tmp_path)
    agent = FunctionAgent("shop", {"function": "shop_of_late.answer"})
    assert "shop_of_late" not in sys.modules
    agent.load()
    assert "shop_of_late" in sys.modules
