"""The parts in a random life: an agent with a script, an outlet that complains, and the verdict on their run."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway_project import clock
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, Finish, TextDelta
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import FINAL_STATUSES, AbortOutcome, NoteKind, RunStatus
from tests.execution.stage import RememberingOutlet
from tests.execution.weather import Weather

SCRIPTS = ["at_once", "on_command", "deaf", "cleans_up_long", "finishes_on_cancel", "raises_on_cancel", "raises"]
COMMANDS = ["word", "word", "finish", "finish", "fail", "finish_and_stay", "give_in"]


class Actor(Agent):
    """Plays one run's agent by a script, and on command."""

    def __init__(self, name: str, script: str, weather: Weather) -> None:
        super().__init__(name, {})
        self.script = script
        self.weather = weather
        self.commands: asyncio.Queue[str] = asyncio.Queue()
        self.released = asyncio.Event()
        self.called = False
        self.without_record = False
        self.has_finished = False
        self.has_raised = False
        self.ended_at: datetime | None = None

    @property
    def is_alive(self) -> bool:
        return self.called and self.ended_at is None

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        self.called = True
        running = [step for step in self.weather.steps if step[0] == request.run_id and step[2].status == "running"]
        self.without_record = not running
        try:
            if self.script == "raises":
                self._fail()
            if self.script != "at_once":
                async for event in self._obey():
                    yield event
            self.has_finished = True
            yield Finish("stop")
        finally:
            self.ended_at = clock.now()

    async def _obey(self) -> AsyncGenerator[AgentEvent, None]:
        while True:
            try:
                command = await self.commands.get()
            except asyncio.CancelledError:
                command = await self._cancelled()
            match command:
                case "word":
                    yield TextDelta("word ")
                case "finish":
                    return
                case "finish_and_stay":
                    self.has_finished = True
                    yield Finish("stop")
                case "fail":
                    self._fail()

    async def _cancelled(self) -> str:
        match self.script:
            case "deaf":
                return "" if not self.released.is_set() else "word"
            case "cleans_up_long":
                await self.released.wait()
                raise asyncio.CancelledError
            case "finishes_on_cancel":
                return "finish"
            case "raises_on_cancel":
                self._fail()
        raise

    def _fail(self) -> None:
        self.has_raised = True
        raise AgentError("The agent has had enough.", code="enough", status=502)


class CountingOutlet(RememberingOutlet):
    """Also counts, and remembers what should not have come."""

    def __init__(self, *, is_left_alone: bool) -> None:
        super().__init__()
        self.is_left_alone = is_left_alone
        self.complaints: list[str] = []
        self.words = 0

    async def write(self, event: AgentEvent) -> None:
        if self.is_gone and not self.is_left_alone:
            self.complaints.append("an event after the client was gone")
        if self.results:
            self.complaints.append("an event after the last word")
        if not self.is_gone:
            self.stats.events += 1
            self.stats.bytes += 7
        await super().write(event)

    async def end(self, result: Any) -> bool:
        self.words += 1
        if self.words > 1:
            self.complaints.append("a second last word")
        return await super().end(result)

    def reads(self, does: bool) -> None:
        """The client takes what comes, or does not."""
        for gate in (self.room, self.last_word_sent):
            if does:
                gate.set()
            else:
                gate.clear()


@dataclass(eq=False)
class Part:
    """One run, and what the test did to it."""

    run: ActiveRun | None
    run_id: uuid.UUID
    actor: Actor
    outlet: CountingOutlet
    refused: str = ""
    aborted_for: str = ""
    wished: str = ""
    lost: bool = False
    """Its process died before its end was durable."""
    swept: bool = False
    """Others took its process for dead, rightly or not."""

    def obey(self, command: str) -> None:
        """Tell the agent to do something."""
        if command == "give_in":
            self.actor.released.set()
        else:
            self.actor.commands.put_nowait(command)

    @property
    def died_unseen(self) -> bool:
        """It was lost before its record or its end was durable: a row is not promised."""
        return self.lost and not self.actor.called and self.run is not None and not self.run.closed.done()


def check_end(part: Part, row: Run | None) -> None:
    """The row, the outlet and the agent tell the same story."""
    if row is None:
        assert part.died_unseen or (part.run is None and part.refused), "no record"
        return
    assert row.status in FINAL_STATUSES, "no end"
    assert row.finished_at is not None
    if part.run is None:
        assert row.status == RunStatus.REJECTED
        return
    if row.settled_at is not None and row.abort_requested_at is not None:
        assert row.settled_at >= row.abort_requested_at
    if not part.lost:
        assert part.outlet.is_gone or len(part.outlet.results) == 1, "no last word"
    if row.abort_outcome == AbortOutcome.UNKNOWN:
        assert part.lost or part.swept, "closed by others though its process lived"
        return
    kinds = {note.kind for note in row.notes.all()}
    assert part.swept or NoteKind.SECOND_END not in kinds, "ended twice"
    assert NoteKind.LATE_END not in kinds or row.abort_outcome == AbortOutcome.UNRESPONSIVE
    check_cause(part, row)
    check_outcome(part, row)
    assert (row.events_sent, row.bytes_sent) == (part.outlet.stats.events, part.outlet.stats.bytes)
    assert (row.started_at is not None) == part.actor.called


def check_cause(part: Part, row: Run) -> None:
    """The first cause is in the record, and none that nobody had."""
    assert part.run is not None
    told = part.run.signal.cause or ""
    assert not part.aborted_for or part.aborted_for == told
    assert row.abort_cause in {told, part.wished}
    wished = part.wished and not row.notes.filter(kind=NoteKind.ABORT_REQUESTED).exists()  # else: after the end
    assert bool(row.abort_cause) == bool(told or wished)


def check_outcome(part: Part, row: Run) -> None:
    """What is said of the agent is what it did."""
    actor = part.actor
    if row.abort_outcome == AbortOutcome.UNRESPONSIVE:
        assert row.settled_at is None
        assert actor.called
        return
    assert row.settled_at is not None
    assert actor.ended_at is None or actor.ended_at <= row.settled_at, "said to have ended before it had"
    match row.abort_outcome:
        case AbortOutcome.STOPPED:
            assert not actor.has_finished
            assert not actor.has_raised
        case AbortOutcome.ERRORED:
            assert actor.has_raised
        case AbortOutcome.FINISHED_FIRST:
            assert actor.has_finished or row.status == RunStatus.FAILED
        case _:
            assert row.status in (RunStatus.COMPLETED, RunStatus.FAILED)
    match part.outlet.results:
        case [Completed()]:
            assert row.status == RunStatus.COMPLETED
            assert row.delivered == (not part.outlet.is_gone)
        case [Failed()]:
            assert row.status == RunStatus.FAILED
        case [Aborted()]:
            assert row.abort_cause
