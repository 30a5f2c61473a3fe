"""An agent that stops, or does not, in every way that an agent may. Its prompt says how: ``BEHAVIOUR SPEAKS FILE``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from gateway_project.agents.events import AgentEvent, Finish
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal

OUTCOMES: dict[str, tuple[str, str]] = {
    "stops": ("aborted", "stopped"),
    "cleans-up-first": ("aborted", "stopped"),
    "swallows-the-cancel": ("aborted", "unresponsive"),
    "finishes": ("completed", "finished_first"),
    "raises": ("aborted", "errored"),
}
"""What the record says of each: status and outcome of the abort."""
GRACE_SECONDS = 2.0


async def act(request: AgentRequest, signal: AbortSignal) -> AsyncIterator[str | AgentEvent]:
    """Say a word or none, leave a mark that it waits now, and wait for the end."""
    first = next(message for message in request.messages if message.role == "user")
    behaviour, speaks, mark = first.text.split(" ", 2)
    if speaks == "speaks":
        yield "alpha"
    Path(mark).touch()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        match behaviour:
            case "stops":
                raise
            case "cleans-up-first":
                await asyncio.sleep(0.01)
                raise
            case "swallows-the-cancel":
                await _deaf_sleep(3 * GRACE_SECONDS)
            case "finishes":
                yield Finish("stop")
            case "raises":
                raise RuntimeError("it raises when it is cancelled") from None


async def _deaf_sleep(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
