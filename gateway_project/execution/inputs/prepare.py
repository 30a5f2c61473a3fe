"""A request as the client sent it → the request as the agent gets it: with the bytes of its inputs, or their text.

Runs in the run's own task, so that an abort stops all of it: downloads, look-ups and the reading of files.
"""

import asyncio
import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

from gateway_project.agents.base import Agent
from gateway_project.agents.request import (
    AgentRequest,
    AnyMedia,
    ContentPart,
    FilePart,
    MediaPart,
    Message,
    TextPart,
)
from gateway_project.execution.inputs import kinds
from gateway_project.execution.inputs.problems import Budget, InputError, InputProblem
from gateway_project.execution.inputs.source import declared_type, is_url, parted
from gateway_project.execution.inputs.text import text_of
from gateway_project.input_settings import InputSettings


async def prepare(
    request: AgentRequest, agent: Agent, limits: InputSettings, *, note: Callable[[str], None]
) -> AgentRequest:
    """Fetch, decode and judge what is no text. The first failure stops the rest.

    Args:
        note: takes a line for the record about each download: host, bytes and type, never a path or content.

    Raises:
        InputError: naming the part that cannot be taken.
    """
    parts = [part for _, part in request.media]
    if not parts:
        return request
    _count(parts, limits)
    kitchen = _Kitchen(agent, limits, note, Budget(limits.TOTAL_BYTES), asyncio.Semaphore(limits.CONCURRENT_FETCHES))
    loop = asyncio.get_running_loop()
    name = f"run:{request.run_id}:input"
    tasks = [loop.create_task(kitchen.prepared(part), name=name) for part in parts]
    try:
        done = iter(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return replace(request, messages=tuple(_with(message, done) for message in request.messages))


def _count(parts: list[AnyMedia], limits: InputSettings) -> None:
    by_url = [part for part in parts if is_url(part.source)]
    for found, most, things in ((parts, limits.PARTS, "inputs"), (by_url, limits.URLS, "inputs by URL")):
        if len(found) > most:
            raise InputError(f"A request may have at most {most} {things}.", param=found[most].where)


def _with(message: Message, done: Iterator[ContentPart]) -> Message:
    if not any(isinstance(part, MediaPart) for part in message.content):
        return message
    return replace(
        message, content=tuple(next(done) if isinstance(part, MediaPart) else part for part in message.content)
    )


@dataclass(frozen=True, slots=True)
class _Kitchen:
    """What preparing one request's parts needs."""

    agent: Agent
    limits: InputSettings
    note: Callable[[str], None]
    budget: Budget
    gate: asyncio.Semaphore

    async def prepared(self, part: AnyMedia) -> ContentPart:
        """The part with its data; a file as text for an agent that reads no files."""
        try:
            if is_url(part.source):
                ready = await self._downloaded(part)
            else:
                ready = self._decoded(part)
            if isinstance(ready, FilePart) and not self.agent.supports_files:
                return TextPart(_framed(ready, await text_of(ready.data, ready.media_type, self.limits)))
        except InputProblem as problem:
            raise InputError.of(problem, part) from None
        return ready

    async def _downloaded(self, part: AnyMedia) -> AnyMedia:
        if find_spec("aiohttp") is None:
            raise InputProblem("url", "URLs are not fetched here.")
        from gateway_project.execution.inputs.fetch import fetch, host_of  # aiohttp is an extra, and slow to import

        try:
            async with self.gate:
                fetched = await fetch(part.source, self.limits, self.budget)
            if isinstance(part, FilePart) and part.filename is None:
                part = replace(part, filename=fetched.filename or None)
            ready = self._judged(part, fetched.data, fetched.declared)
        except InputProblem as problem:
            self.note(f"{part.where} from {host_of(part.source)}: not taken ({problem.kind})")
            raise
        way = f" after {fetched.redirects} redirects" if fetched.redirects else ""
        self.note(f"{part.where} from {fetched.host}{way}: {len(ready.data)} bytes, {ready.media_type}")
        return ready

    def _decoded(self, part: AnyMedia) -> AnyMedia:
        """The part of a data URL or of bare base64, which the limit of the request's body has bounded."""
        head, encoded = parted(part.source)
        if head and not head.lower().endswith(";base64"):
            raise InputProblem("data", "A data URL must hold base64.")
        try:
            data = a2b_base64(encoded, strict_mode=True)
        except (NotBase64, ValueError):
            raise InputProblem("data", "This is neither a URL nor valid base64.") from None
        if len(data) > self.limits.PART_BYTES:
            raise InputProblem("size", f"The input has more than {self.limits.PART_BYTES} bytes.")
        self.budget.spend(len(data))
        return self._judged(part, data, declared_type(head) or part.media_type)

    def _judged(self, part: AnyMedia, data: bytes, declared: str) -> AnyMedia:
        if not data:
            raise InputProblem("empty", "The input is empty.")
        filename = part.filename if isinstance(part, FilePart) else None
        media_type = kinds.media_type(data, declared=declared, filename=filename)
        types = {"image": self.limits.IMAGE_TYPES, "audio": self.limits.AUDIO_TYPES, "file": self.limits.FILE_TYPES}
        taken = types[part.type]
        if media_type not in taken:
            raise InputProblem("type", f"The input is of type {media_type}; taken are {', '.join(taken)}.")
        return replace(part, source="", media_type=media_type, data=data)


def _framed(part: FilePart, text: str) -> str:
    """The text of a file, so that a model can tell it from what the user wrote."""
    name = re.sub(r'[\x00-\x1f"<>\\]', "_", part.filename or "file")[:200]
    harmless = text.replace("</file", "<\\/file")
    return f'\n<file name="{name}" type="{part.media_type}">\n{harmless}\n</file>\n'
