"""The shop's own code as an agent: an async function, or an async generator function, named by a dotted path."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway_project.agents import options as agent_options
from gateway_project.agents.base import Agent
from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolCall, ToolCallDelta
from gateway_project.agents.halves import Halves
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.conf import did_you_mean

AgentFunction = Callable[[AgentRequest, AbortSignal], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionOptions:
    """``OPTIONS`` of a `FunctionAgent`.

    Attributes:
        function: dotted path to the function.
        supports: what it can do besides plain text, e.g. ``["tools", "json_schema"]``.
        models: names that the catalogue lists; the function reads the one that was asked for in `request.model`.
    """

    function: str
    supports: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class FunctionAgent(Agent):
    """Calls ``function(request, signal)``.

    An async generator function yields strings (pieces of the answer) or agent events; an async function
    returns the whole answer as a string. The `Finish` is added where the function yields none. Limits of
    length and stop sequences are the function's own business.

    On an abort the function is cancelled where it awaits. If it then ends quietly, it has stopped; if it
    yields a `Finish` or returns a string all the same, it has finished first.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._settings = agent_options.read(FunctionOptions, options)
        agent_options.declare(self, self._settings.supports)

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Also imports the function: a wrong path is told at the start, not by the first request."""
        found = list(agent_options.problems(FunctionOptions, options))
        yield from found
        if not found:
            try:
                _load(options["function"])
            except (ImportError, TypeError) as error:
                yield f"'function': {error}"

    @cached_property
    def function(self) -> AgentFunction:
        """The function, imported at the first use, when the apps of the shop are ready."""
        return _load(self._settings.function)

    def load(self) -> None:
        """Import the function."""
        _ = self.function

    def models(self) -> tuple[str, ...]:
        """As configured."""
        return self._settings.models

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        """Call the function and turn what it gives into events."""
        finished: set[int] = set()
        calling: set[int] = set()
        halves = Halves()
        async with aclosing(self._pieces(request, signal)) as pieces:
            async for piece in pieces:
                event = self._event(piece, halves)
                if event is None:
                    await asyncio.sleep(0)  # One that says nothing without end must let others have a turn.
                    continue
                if isinstance(event, Finish):
                    finished.add(event.choice)
                    if rest := halves.rest(event.choice):
                        yield TextDelta(rest, event.choice)
                elif isinstance(event, ToolCall | ToolCallDelta):
                    calling.add(event.choice)
                yield event
        if signal.aborted:
            return  # It swallowed the cancellation and ended: that is a stop, not an answer.
        for choice in sorted(set(range(request.choices)) - finished):
            if rest := halves.rest(choice):
                yield TextDelta(rest, choice)
            yield Finish("tool_calls" if choice in calling else "stop", choice)

    def _event(self, piece: Any, halves: Halves) -> AgentEvent | None:
        """What the function gave, as an event; None for text of which nothing is there yet."""
        if not isinstance(piece, str | AgentEvent):
            raise TypeError(f"{self._settings.function} yielded {_kind(piece)}; it must yield strings or agent events.")
        event: AgentEvent = TextDelta(piece) if isinstance(piece, str) else piece
        if not isinstance(event, TextDelta):
            return event
        text = halves.join(event.choice, event.text)
        return TextDelta(text, event.choice, event.logprobs) if text or event.logprobs else None

    async def _pieces(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[Any, None]:
        if _is_generator(self.function):
            async with aclosing(self.function(request, signal)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        answer = await self.function(request, signal)
        if not isinstance(answer, str):
            raise TypeError(f"{self._settings.function} returned {_kind(answer)}; it must return a string.")
        yield answer
        yield Finish("stop")


def _load(path: str) -> AgentFunction:
    """Import a function and look whether it can be an agent.

    Raises:
        ImportError: for a path that leads nowhere, with what may have been meant.
        TypeError: for something that is no async function of two arguments.
    """
    module_path, _, name = path.rpartition(".")
    if not module_path:
        raise ImportError(f"{path!r} is no dotted path, such as 'shop.agents.answer'.")
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise  # The module is there; something that it imports is not.
        raise ImportError(agent_options.sentence(f"no module {error.name!r}.", _nearest_module(error.name))) from error
    try:
        function = getattr(module, name)
    except AttributeError:
        hint = did_you_mean(name, [word for word in vars(module) if not word.startswith("_")])
        raise ImportError(agent_options.sentence(f"no {name!r} in the module {module_path!r}.", hint)) from None
    if not _is_generator(function) and not _is_coroutine(function):
        raise TypeError(f"{path!r} is {_kind(function)}; it must be an async function or an async generator function.")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError(f"{path!r} must take two arguments: (request, signal).") from None
    checked: AgentFunction = function
    return checked


def _nearest_module(name: str) -> str | None:
    parent, _, last = name.rpartition(".")
    paths = importlib.import_module(parent).__path__ if parent else None
    return did_you_mean(last, [module.name for module in pkgutil.iter_modules(paths)])


def _is_generator(function: Any) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(_call_of(function))


def _is_coroutine(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_call_of(function))


def _call_of(function: Any) -> Any:
    """What calling an instance runs; classes are no agents."""
    return None if isinstance(function, type) else inspect.getattr_static(type(function), "__call__")


def _kind(value: Any) -> str:
    return "a plain function" if inspect.isfunction(value) else f"a value of type {type(value).__name__}"
