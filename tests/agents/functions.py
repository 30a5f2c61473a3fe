"""A shop's own agents, for the tests of the agent `function`."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolActivity, ToolCall, Usage
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal

started = asyncio.Event()
"""Set by those that wait to be cancelled."""
log: list[str] = []
"""What happened while one was stopped."""


async def answer(request: AgentRequest, signal: AbortSignal) -> str:
    """The whole answer at once."""
    return f"You said: {request.messages[-1].text}"


async def stream(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """In pieces."""
    for piece in ("a", "", "b"):
        yield piece


async def empty_pieces(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """Says nothing, and never waits, until it is stopped."""
    while not signal.aborted:
        yield ""


async def events(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str | AgentEvent]:
    """Strings and events mixed, with its own finish."""
    yield ToolActivity("search", "started")
    yield "x"
    yield TextDelta("y")
    yield Finish("length")
    yield Usage(1, 2)


async def halves(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str | AgentEvent]:
    """Cuts a character in two, and leaves one cut."""
    yield "a\ud83d"
    yield TextDelta("\ude00")
    yield "b\ud83d"


async def calls(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[AgentEvent]:
    """Asks for a tool, and does not say that it is done."""
    yield ToolCall("call_1", "weather", "{}")


async def two_choices(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[AgentEvent]:
    """Finishes one of two."""
    yield TextDelta("a", 0)
    yield TextDelta("b", 1)
    yield Finish("length", 1)


async def silent(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """Nothing to say."""
    nothing: tuple[str, ...] = ()
    for piece in nothing:
        yield piece


async def waits(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """Is stopped, and cleans up."""
    yield "begun"
    try:
        started.set()
        await asyncio.Event().wait()
    finally:
        log.append(f"cleaned up: {signal.cause}")


async def waits_whole(request: AgentRequest, signal: AbortSignal) -> str:
    """The same, not streamed."""
    started.set()
    await asyncio.Event().wait()
    return "never"


async def ends_quietly(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """Swallows its cancellation and ends."""
    started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return
    yield ""


async def finishes_all_the_same(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str | AgentEvent]:
    """Swallows its cancellation and says that it is done."""
    started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        yield "saved"
        yield Finish("stop")


async def returns_all_the_same(request: AgentRequest, signal: AbortSignal) -> str:
    """The same, not streamed."""
    started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "saved"
    return "never"


async def yields_bytes(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[Any]:
    """Wrong."""
    try:
        yield "good"
        yield b"bad"
    finally:
        log.append("closed")


async def returns_nothing(request: AgentRequest, signal: AbortSignal) -> Any:
    """Wrong."""
    return None


async def raises(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
    """Fails in the middle."""
    yield "x"
    raise KeyError("shop")


def plain(request: AgentRequest, signal: AbortSignal) -> str:
    """No async function."""
    return "x"


async def one_argument(request: AgentRequest) -> str:
    """Too few."""
    return "x"


class Callable:
    """An instance is an agent, the class is none."""

    def __init__(self, word: str) -> None:
        self.word = word

    async def __call__(self, request: AgentRequest, signal: AbortSignal) -> str:
        return self.word

    async def method(self, request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str]:
        """A bound method is one too."""
        yield self.word


class Child(Callable):
    """Inherits its call."""


async def _with_word(word: str, request: AgentRequest, signal: AbortSignal) -> str:
    return word


instance = Child("from an instance")
method = Callable("from a method").method
bound = partial(_with_word, "from a partial")
