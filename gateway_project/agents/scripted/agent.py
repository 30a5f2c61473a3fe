"""The backend of the agent `scripted`: for tests, demos and load tests. Deterministic."""

import asyncio
import re
from contextlib import aclosing
from typing import ClassVar

from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, UnsupportedRequest
from gateway_project.agents.events import Finish, TextDelta, ToolCallDelta
from gateway_project.agents.request import AgentRequest, MediaPart, Message
from gateway_project.agents.scripted.judge import judge
from gateway_project.agents.scripted.limits import Script, limited, words
from gateway_project.agents.signal import AbortSignal

_JUDGE = re.compile(r"judge(?:-(\d{1,6})ms)?")

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett")


class ScriptedAgent(Agent):
    """Models: ``echo``, ``count-N``, ``slow-NxMms``, ``think-Mms``, ``tool``, ``fail``, ``fail-after-N``,
    ``stubborn-Mms``, ``finish-on-cancel``, ``raise-on-cancel``, ``judge``, ``judge-Mms``.

    Usage is exact: a token a word, in and out. ``stop`` and the token limit are obeyed. ``judge`` does all that
    a request may ask of an agent, with M ms before each piece; the others know no JSON.
    """

    supports_tools = True
    supports_forced_tools = True
    supports_json_object = True
    supports_json_schema = True
    supports_images = True
    supports_audio = True
    supports_files = True

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
        (_JUDGE, "_judge"),
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
            "judge",
        )

    @property
    def default_model(self) -> str:
        """``echo``."""
        return "echo"

    def has_model(self, model: str) -> bool:
        """Whether some script has that name."""
        return any(pattern.fullmatch(model) for pattern, _ in self._SCRIPTS)

    def check_request(self, request: AgentRequest) -> None:
        """Refuse JSON from all but ``judge``."""
        super().check_request(request)
        if request.response_format.type != "text" and not _JUDGE.fullmatch(request.model):
            raise UnsupportedRequest("Of the scripts only 'judge' answers in JSON.", param="response_format")

    async def run(self, request: AgentRequest, signal: AbortSignal) -> Script:
        """Play the script that the model names."""
        for pattern, method in self._SCRIPTS:
            match = pattern.fullmatch(request.model)
            if match:
                script: Script = getattr(self, method)(request, *map(int, match.groups("0")))
                break
        else:
            raise AgentError(f"No script is named {request.model!r}.", code="model_not_found", status=404)
        async with aclosing(limited(script, request)) as events:
            async for event in events:
                yield event

    async def _echo(self, request: AgentRequest) -> Script:
        said = next((_said(m) for m in reversed(request.messages) if m.role in ("user", "tool")), "")
        for piece in words(said):
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

    async def _judge(self, request: AgentRequest, pause_ms: int) -> Script:
        for event in judge(request):
            await asyncio.sleep(pause_ms / 1000)
            yield event


def _said(message: Message) -> str:
    """The message's text, with what is no text in words."""
    seen = [f"[{p.type} {p.media_type} {len(p.data)} bytes]" for p in message.content if isinstance(p, MediaPart)]
    return " ".join([message.text, *seen] if message.text else seen)


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
