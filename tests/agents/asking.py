"""How the tests ask an agent: as the supervisor does, in a task that can be cancelled."""

import asyncio
from contextlib import aclosing
from typing import Any

from gateway_project import ids
from gateway_project.agents.base import Agent
from gateway_project.agents.events import AgentEvent, TextDelta
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.agents.signal import AbortSignal


def request_for(model: str, text: str = "Say something", **fields: Any) -> AgentRequest:
    """A request of one user message."""
    messages = fields.pop("messages", (Message("user", (TextPart(text),)),))
    return AgentRequest(run_id=ids.new_run_id(), model=model, messages=messages, **fields)


async def ask(agent: Agent, model: str, text: str = "Say something", **fields: Any) -> list[AgentEvent]:
    """Every event of one run."""
    async with aclosing(agent.run(request_for(model, text, **fields), AbortSignal())) as events:
        return [event async for event in events]


def text_of(events: list[AgentEvent]) -> str:
    """The text of the answer."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


class Run:
    """A run in a task of its own, that can be aborted as the supervisor aborts it."""

    def __init__(self, agent: Agent, request: AgentRequest) -> None:
        self.signal = AbortSignal()
        self.events: list[AgentEvent] = []
        self.said_something = asyncio.Event()
        self._agent = agent
        self._request = request
        self.task = asyncio.get_running_loop().create_task(self._drive(), name="run:test")

    async def abort(self, within: float = 30) -> None:
        """Set the signal, cancel the task, and see that the cancellation comes out of it."""
        self.signal.set("client_disconnect")
        self.task.cancel()
        async with asyncio.timeout(within):
            await asyncio.wait([self.task])

    async def _drive(self) -> None:
        async with aclosing(self._agent.run(self._request, self.signal)) as events:
            async for event in events:
                self.events.append(event)
                self.said_something.set()
