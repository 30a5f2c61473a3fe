"""An agent that does what its model's name says: for tests, demos and load tests. Deterministic."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, Finish, TextDelta, ToolCallDelta, Usage
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal

Script = AsyncGenerator[AgentEvent, None]

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett")


class ScriptedAgent(Agent):
    """Models: ``echo``, ``count-N``, ``slow-NxMms``, ``think-Mms``, ``tool``, ``fail``, ``fail-after-N``,
    ``stubborn-Mms``, ``finish-on-cancel``, ``raise-on-cancel``.

    Usage is exact: a token a word, in and out. ``stop`` and the token limit are obeyed.
    """

    supports_tools = True
    supports_forced_tools = True

    _SCRIPTS: ClassVar[tuple[tuple[re.Pattern[str], str], ...]] = (
        (re.compile(r"echo"), "_echo"),
        (re.compile(r"count-(\d{1,6})"), "_count"),
        (re.compile(r"slow-(\d{1,6})x(\d{1,6})ms"), "_slow"),
        (re.compile(r"think-(\d{1,6})ms"), "_think"),
        (re.compile(r"tool"), "_tool"),
        (re.compile(r"fail"), "_fail"),
        (re.compile(r"fail-after-(\d{1,6})"), "_fail_after"),
        (re.compile(r"stubborn-(\d{1,6})ms"), "_stubborn"),
        (re.compile(r"finish-on-cancel"), "_finish_on_cancel"),
        (re.compile(r"raise-on-cancel"), "_raise_on_cancel"),
    )

    def models(self) -> tuple[str, ...]:
        """An example of each script."""
        return (
            "echo",
            "count-10",
            "slow-20x100ms",
            "think-500ms",
            "tool",
            "fail",
            "fail-after-3",
            "stubborn-8000ms",
            "finish-on-cancel",
            "raise-on-cancel",
        )

    @property
    def default_model(self) -> str:
        """``echo``."""
        return "echo"

    def has_model(self, model: str) -> bool:
        """Whether some script has that name."""
        return any(pattern.fullmatch(model) for pattern, _ in self._SCRIPTS)

    async def run(self, request: AgentRequest, signal: AbortSignal) -> Script:
        """Play the script that the model names."""
        for pattern, method in self._SCRIPTS:
            match = pattern.fullmatch(request.model)
            if match:
                script: Script = getattr(self, method)(request, *map(int, match.groups()))
                break
        else:
            raise AgentError(f"No script is named {request.model!r}.", code="model_not_found", status=404)
        async with aclosing(_limited(script, request)) as events:
            async for event in events:
                yield event

    async def _echo(self, request: AgentRequest) -> Script:
        said = next((m.text for m in reversed(request.messages) if m.role in ("user", "tool")), "")
        for piece in re.findall(r"\s*\S+|\s+$", said):
            yield TextDelta(piece)

    async def _count(self, request: AgentRequest, words: int) -> Script:
        for index in range(words):
            yield TextDelta(_word(index))

    async def _slow(self, request: AgentRequest, words: int, pause_ms: int) -> Script:
        for index in range(words):
            await asyncio.sleep(pause_ms / 1000)
            yield TextDelta(_word(index))

    async def _think(self, request: AgentRequest, pause_ms: int) -> Script:
        await asyncio.sleep(pause_ms / 1000)
        yield TextDelta("done")

    async def _tool(self, request: AgentRequest) -> Script:
        if request.messages and request.messages[-1].role == "tool":
            yield TextDelta(f"The tool said: {request.messages[-1].text}")
            return
        name = request.tool_choice.name or (request.tools[0].name if request.tools else "")
        if not name or request.tool_choice.mode == "none":
            yield TextDelta("There is no tool to call.")
            return
        yield ToolCallDelta(0, call_id=f"call_{request.run_id.hex}", name=name)
        for piece in ('{"city"', ': "Paris"', "}"):
            yield ToolCallDelta(0, piece)
        yield Finish("tool_calls")

    async def _fail(self, request: AgentRequest) -> Script:
        async with aclosing(self._fail_after(request, 0)) as events:
            async for event in events:
                yield event

    async def _fail_after(self, request: AgentRequest, words: int) -> Script:
        for index in range(words):
            yield TextDelta(_word(index))
            await asyncio.sleep(0)
        raise AgentError("The script says: fail.", code="scripted_failure")

    async def _stubborn(self, request: AgentRequest, stubborn_ms: int) -> Script:
        yield TextDelta("never")
        try:
            await asyncio.Event().wait()
        finally:
            await _deaf_sleep(stubborn_ms / 1000)

    async def _finish_on_cancel(self, request: AgentRequest) -> Script:
        yield TextDelta("almost")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield TextDelta(" done")

    async def _raise_on_cancel(self, request: AgentRequest) -> Script:
        yield TextDelta("careful")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("the script raises when cancelled") from None


def _word(index: int) -> str:
    return ("" if index == 0 else " ") + _WORDS[index % len(_WORDS)]


async def _deaf_sleep(seconds: float) -> None:
    """Sleep through every cancellation."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


async def _limited(script: Script, request: AgentRequest) -> Script:
    """Play `script` up to the token limit or a stop sequence, and add usage and the finish."""
    reason: Finish = Finish("stop")
    words = 0
    text = ""
    said = 0
    longest = max(map(len, request.stop), default=0)
    try:
        async for event in script:
            if isinstance(event, Finish):
                reason = event
                continue
            if not isinstance(event, TextDelta):
                yield event
                continue
            if request.max_output_tokens is not None and words >= request.max_output_tokens:
                reason = Finish("length")
                break
            words += 1
            text += event.text
            fresh = max(0, len(text) - len(event.text) - longest)
            cut = min((at for at in (text.find(stop, fresh) for stop in request.stop) if at >= 0), default=None)
            if cut is not None:
                text = text[:cut]
                break
            ready = len(text) - _begun(text, request.stop)
            if ready > said:
                yield TextDelta(text[said:ready])
                said = ready
    finally:
        await script.aclose()
    if len(text) > said:
        yield TextDelta(text[said:])
    yield Usage(input_tokens=sum(len(m.text.split()) for m in request.messages), output_tokens=words)
    yield reason


def _begun(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop sequence, and must wait."""
    lengths = (length for sequence in stop for length in range(1, len(sequence)) if text.endswith(sequence[:length]))
    return max(lengths, default=0)
