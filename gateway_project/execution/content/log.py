"""The content of one run while it runs: listens to what passes on both sides, and hands it over at the end."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from gateway_project import clock
from gateway_project.agents.events import AgentEvent
from gateway_project.agents.request import AgentRequest
from gateway_project.conf import GatewaySettings
from gateway_project.content_modes import ContentMode, mode_in_force
from gateway_project.execution.content.answered import Answer
from gateway_project.execution.content.asked import as_plain
from gateway_project.execution.outlet import Aborted, Completed, Outlet, RunResult, Write
from gateway_project.execution.progress import Progress
from gateway_project.runs.content.drafting import Draft, new_salt, record_of
from gateway_project.runs.content.record import KeepContent
from gateway_project.runs.journal import Change
from gateway_project.runs.record import RunRecord

PARAMETER = "content"
"""Among the recorded parameters of a run: the mode that was decided on when it came in. Missing: ``none``."""


def choose_mode(settings: GatewaySettings, record: RunRecord, *, key: str, asked: str) -> None:
    """Decide how much of a run's content is kept, and note it in the record, which whoever starts the run has.

    Args:
        record: with its agent.
        key: what the caller's key says; empty for nothing.
        asked: what the request asks for; empty for nothing. It can only make it stricter.
    """
    mode = mode_in_force(settings.CONTENT, (settings.AGENTS[record.agent].CONTENT or "", key), asked)
    if mode is not ContentMode.NONE:
        record.parameters = {**record.parameters, PARAMETER: mode.value}


def mode_of(record: RunRecord) -> ContentMode:
    """The mode that was decided on for a run."""
    return ContentMode(record.parameters.get(PARAMETER, ContentMode.NONE))


class ContentLog:
    """Keeps in mind what one run is asked and answers."""

    def __init__(self, record: RunRecord, request: AgentRequest, mode: ContentMode, *, most: int) -> None:
        self._record = record
        self._mode = mode
        self._asked = as_plain(request)
        self._salt = new_salt()
        self._answer = Answer(most=most, salt=self._salt)

    @classmethod
    def of(cls, record: RunRecord, request: AgentRequest, settings: GatewaySettings) -> Self | None:
        """The log of a run; None where nothing is kept of it."""
        mode = mode_of(record)
        if mode is ContentMode.NONE:
            return None
        return cls(record, request, mode, most=settings.CONTENT_CHARACTERS)

    def listening(self, outlet: Outlet) -> Outlet:
        """The same outlet, listened to."""
        return ListenedOutlet(outlet, self._answer)

    def progress(self, request: AgentRequest) -> Progress:
        """A run's progress that lets the log hear of what the agent says."""
        return ListeningProgress(request, self._answer)

    def hand_over(self, submit: Callable[[Change], "asyncio.Future[object]"]) -> None:
        """Have it kept. What is said from now on is not in it."""
        draft = Draft(
            run_id=self._record.id,
            at=clock.now(),
            mode=self._mode,
            asked=self._asked,
            answered=self._answer.pieces(),
            salt=self._salt,
        )
        size = draft.size
        if _waiting.characters + size <= MOST_WAITING:
            _waiting.characters += size
            submit(KeepContent(partial(record_of, draft))).add_done_callback(partial(_waiting.less, size))
        else:  # A database that hangs must not make whole conversations pile up in memory.
            short = replace(draft, mode=ContentMode.DIGEST, remarks=(_TOO_MUCH,))
            submit(KeepContent(record_of(short)))


@dataclass(slots=True)
class _Waiting:
    """How much content waits for the journal, in this process."""

    characters: int = 0

    def less(self, size: int, _: object) -> None:
        self.characters -= size


_waiting = _Waiting()
MOST_WAITING = 64 * 1024 * 1024
"""How many characters of content may wait in memory. Beyond that only digests are kept."""
_TOO_MUCH = "Too much content waited for the database: no text was kept."


class ListeningProgress(Progress):
    """Follows a run, and tells of the answer."""

    def __init__(self, request: AgentRequest, answer: Answer) -> None:
        super().__init__(request)
        self._answer = answer

    def observe_all(self, burst: Sequence[AgentEvent]) -> None:
        """Keep what matters of events, and all of their content."""
        super().observe_all(burst)
        for event in burst:
            self._answer.generated(event)


class ListenedOutlet:
    """Hands everything on, and tells of what has left.

    What an outlet counts shows whether an event has left: bytes that were sent, events that are kept for later. One
    that answers in one piece counts nothing before its end.
    """

    def __init__(self, outlet: Outlet, answer: Answer) -> None:
        self.stats = outlet.stats
        self._outlet = outlet
        self._answer = answer
        self._write_burst: Write | None = getattr(outlet, "write_burst", None)

    def started(self) -> None:
        """As it is."""
        self._outlet.started()

    async def write(self, event: AgentEvent) -> None:
        """Hand it on. What was cut short may have left all the same."""
        before = self._count()
        try:
            await self._outlet.write(event)
        finally:
            self._answer.handed_on(event, left=self._count() > before)

    async def write_burst(self, events: Sequence[AgentEvent]) -> None:
        """The same of several: in one go, where the outlet knows how. Of what it fails at none counts as left."""
        if self._write_burst is None:
            for event in events:
                await self.write(event)
            return
        before, has_failed = self._count(), False
        try:
            await self._write_burst(events)
        except Exception:
            has_failed = True
            raise
        finally:
            left = self._count() > before and not has_failed
            for event in events:
                self._answer.handed_on(event, left=left)

    async def end(self, result: RunResult) -> bool:
        """Hand it on. An answer that was delivered as a whole was so in every piece."""
        delivered = await self._outlet.end(result)
        if delivered and isinstance(result, Completed):
            self._answer.all_delivered()
        return delivered

    def gone(self, result: Aborted) -> None:
        """As it is."""
        self._outlet.gone(result)

    def _count(self) -> int:
        return self.stats.bytes + self.stats.kept
