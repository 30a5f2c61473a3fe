"""A stage for one run: an agent made of a function, an outlet that remembers, a journal that only listens."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from gateway_project import ids
from gateway_project.agents.base import Agent
from gateway_project.agents.events import AgentEvent, Finish, TextDelta
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.admission import Admission, Limit
from gateway_project.execution.outlet import Aborted, OutletStats, RunResult
from gateway_project.execution.terms import Terms
from gateway_project.runs.journal import Change, CloseRun, InsertRun, JournalUnavailable, Note
from gateway_project.runs.record import NoteRecord, RunRecord
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record

Script = Callable[[AgentRequest, AbortSignal], AsyncGenerator[AgentEvent, None]]


Events = AsyncGenerator[AgentEvent, None]


async def answer(request: AgentRequest, signal: AbortSignal) -> Events:
    yield TextDelta("four")
    yield Finish("stop")


async def forever(request: AgentRequest, signal: AbortSignal) -> Events:
    yield TextDelta("a")
    await asyncio.Event().wait()


async def silent(request: AgentRequest, signal: AbortSignal) -> Events:
    await asyncio.Event().wait()
    yield TextDelta("never")


class FunctionAsAgent(Agent):
    """An agent whose `run` is the test's own async generator."""

    def __init__(self, script: Script) -> None:
        super().__init__("staged", {})
        self.script = script
        self.started = asyncio.Event()

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        self.started.set()
        events = self.script(request, signal)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()


class RememberingOutlet:
    """Remembers what came, and can hold the writer up."""

    def __init__(self) -> None:
        self.stats = OutletStats()
        self.events: list[AgentEvent] = []
        self.results: list[RunResult] = []
        self.ending = asyncio.Event()
        self.is_gone = False
        self.room = asyncio.Event()
        self.room.set()
        self.last_word_sent = asyncio.Event()
        self.last_word_sent.set()

    def started(self) -> None:
        pass

    async def write(self, event: AgentEvent) -> None:
        if self.is_gone or self.results:
            return
        self.events.append(event)
        await self.room.wait()

    async def end(self, result: RunResult) -> bool:
        if self.is_gone or self.results:
            return False
        self.results.append(result)
        self.ending.set()
        await self.last_word_sent.wait()
        return not self.is_gone

    def gone(self, result: Aborted) -> None:
        self.is_gone = True
        self.room.set()
        self.last_word_sent.set()


class ListeningHost:
    """Takes the changes and says at once that they are durable, unless told otherwise."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.unavailable = False
        self.durable = asyncio.Event()
        self.durable.set()
        self.late: list[ActiveRun] = []
        self.over: list[ActiveRun] = []

    def submit(self, change: Change) -> "asyncio.Future[object]":
        self.changes.append(change)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_result(True)
        return future

    async def write(self, change: Change) -> object:
        self.changes.append(change)
        await self.durable.wait()
        if self.unavailable:
            raise JournalUnavailable("away")
        return True

    def ended(self, run: ActiveRun) -> None:
        self.over.append(run)

    def settled_late(self, run: ActiveRun) -> None:
        self.late.append(run)

    @property
    def ends(self) -> list[RunRecord]:
        """Every end that was handed in: there must be one."""
        closed = [change.record for change in self.changes if isinstance(change, CloseRun)]
        inserted = [
            change.record
            for change in self.changes
            if isinstance(change, InsertRun) and change.record.status not in (RunStatus.QUEUED, RunStatus.RUNNING)
        ]
        return closed + inserted

    @property
    def notes(self) -> list[NoteRecord]:
        return [change.record for change in self.changes if isinstance(change, Note)]


class Stage:
    """One run on its stage."""

    def __init__(self, script: Script, *, busy: bool = False, **options: Any) -> None:
        self.agent = FunctionAsAgent(script)
        self.outlet = RememberingOutlet()
        self.host = ListeningHost()
        self.places = Admission(queue=10, retry_after=1)
        limit = Limit("process", 1)
        self.holder = self.places.enter([limit]) if busy else None
        choices = options.pop("choices", 1)
        parts = options.pop("parts", (TextPart("12345678"),))
        terms = {"grace_seconds": 5.0, "timeout_seconds": 60.0, "queue_seconds": 60.0, "on_disconnect": "cancel"}
        run_id = ids.new_run_id()
        self.run = ActiveRun(
            self.host,
            record=make_record(id=run_id, status=RunStatus.QUEUED, started_at=None),
            request=AgentRequest(
                run_id=run_id,
                model="m",
                messages=(Message("user", parts),),
                choices=choices,
            ),
            agent=self.agent,
            outlet=self.outlet,
            ticket=self.places.enter([limit]),
            terms=Terms(**(terms | options)),  # type: ignore[arg-type]  # tests change what they like
        )

    async def end(self, *, within: float = 30) -> RunRecord:
        """Wait for the end and return it, having checked that there is only one."""
        async with asyncio.timeout(within):
            await asyncio.shield(self.run.closed)
        assert len(self.host.ends) == 1
        return self.host.ends[0]

    async def started(self) -> None:
        """Wait until the agent was called."""
        async with asyncio.timeout(30):
            await self.agent.started.wait()


async def turns() -> None:
    """So many turns of the loop that whatever waits for nothing else has gone on: no time says that."""
    for _ in range(100):
        await asyncio.sleep(0)
