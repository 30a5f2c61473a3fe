"""One run from its start to its recorded end: the only place that decides how it ended.

The run owns its task, never the connection. This object lives outside that task: `abort` sets the signal,
cancels the task and arms a timer for the grace period; the task's end or the timer decides the outcome.
"""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from gateway_project import clock
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import ToolActivity
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.conf import OnDisconnect
from gateway_project.execution.admission import Ticket
from gateway_project.execution.outlet import Aborted, Completed, Failed, Outlet
from gateway_project.execution.progress import Progress
from gateway_project.observe.context import bind_run
from gateway_project.runs.journal import Change, CloseRun, InsertRun, JournalUnavailable, Note, StartRun
from gateway_project.runs.record import NoteRecord, RunRecord
from gateway_project.runs.vocabulary import (
    AbortCause,
    AbortOutcome,
    AbortPhase,
    NoteKind,
    RunStatus,
    UsageSource,
)

logger = logging.getLogger("gateway.run")

CLIENT_IS_GONE = frozenset({AbortCause.CLIENT_DISCONNECT, AbortCause.SLOW_READER})
"""Causes after which nothing can be told to the client."""


class Host(Protocol):
    """What a run needs of the supervisor that holds it."""

    def submit(self, change: Change) -> "asyncio.Future[object]":
        """Queue a change for the journal."""

    async def write(self, change: Change) -> object:
        """Queue a change and wait until it is durable. Raises JournalUnavailable."""

    def ended(self, run: "ActiveRun") -> None:
        """The run has its end."""

    def settled_late(self, run: "ActiveRun") -> None:
        """A run recorded as unresponsive has really ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run is granted. Times in seconds."""

    grace_seconds: float
    """How long the agent may take to stop."""
    timeout_seconds: float
    """How long the whole run may take, waiting included."""
    queue_seconds: float
    """How long it may wait for its place."""
    on_disconnect: OnDisconnect


class ActiveRun:
    """A run that is queued or running in this process.

    Args:
        record: its row; this object changes it and hands copies to the journal.
        ticket: its place, from `Admission.enter`.
    """

    def __init__(
        self,
        host: Host,
        *,
        record: RunRecord,
        request: AgentRequest,
        agent: Agent,
        outlet: Outlet,
        ticket: Ticket,
        terms: Terms,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.signal = AbortSignal()
        self.ticket = ticket
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the run's end is durable."""
        self._host = host
        self._request = request
        self._agent = agent
        self._outlet = outlet
        self._terms = terms
        self._progress = Progress(request)
        self._failure: Exception | None = None
        self._row_made = False
        self._runs_on = False  # without its client, as configured
        self._ending = False  # the agent is done, the last bytes are on their way
        self._ended = False  # the end is in the journal's hands
        self._cancels = 0
        self._last_word: asyncio.Task[bool] | None = None
        self._timers = [loop.call_later(terms.timeout_seconds, self.abort, AbortCause.TIMEOUT)]
        self.task = loop.create_task(self._drive(), name=f"run:{record.id}")
        self.task.add_done_callback(self._settled)

    # -- asked from outside ---------------------------------------------------------------------------

    def abort(self, cause: AbortCause, *, by: str = "", reason: str = "") -> bool:
        """Stop the run. The first cause counts, a later one becomes a note; after the end it does nothing.

        Args:
            by, reason: who asked and why, for the record.

        Returns:
            Whether this call aborted the run.
        """
        if self._ended or self.task.done():
            return False
        if cause in CLIENT_IS_GONE:
            self._outlet.gone()
        if self.signal.aborted:
            if cause not in CLIENT_IS_GONE:  # A client's leaving after it was told is no news.
                self._note(NoteKind.SECOND_CAUSE, f"{cause}: {reason}" if reason else cause, by=by)
            return False
        if cause is AbortCause.CLIENT_DISCONNECT and self._terms.on_disconnect == "finish":
            self._run_on()
            return False
        self._record_abort(cause, by, reason)
        self.signal.set(cause)
        if self._ending:
            return True  # Nothing is left to stop.
        self._cancels += 1
        self.task.cancel()
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._terms.grace_seconds, self._grace_is_over))
        if cause not in CLIENT_IS_GONE:
            word = Aborted(cause, self._progress.usage)
            self._last_word = loop.create_task(self._outlet.end(word), name=f"run:{self.record.id}:last-word")
        return True

    # -- the run's own task ---------------------------------------------------------------------------

    async def _drive(self) -> None:
        bind_run(self.record.id)
        try:
            await self._take_place()
            await self._run_agent()
        except asyncio.CancelledError:
            cancels = self.task.cancelling()
            if self._cancels and cancels <= self._cancels:
                # Only ours came back. Give them back, so that nobody takes this task for cancelled.
                for _ in range(cancels):
                    self.task.uncancel()
                return
            if cancels:
                raise  # Somebody else cancels this task: their wish stands.
            self._failure = AgentMisbehaved("The agent cancelled itself.")
        except Exception as error:  # noqa: BLE001 (the agent is foreign code: whatever it raises ends its run, not us)
            self._failure = error
        if not self.signal.aborted:
            await self._say_the_end()

    async def _take_place(self) -> None:
        """Wait for a place, and make the record durable before the agent is called."""
        if self.ticket.state == "waiting":
            self._row_made = True
            await self._host.write(InsertRun(replace(self.record)))
            try:
                async with asyncio.timeout(self._terms.queue_seconds):
                    await self.ticket.wait()
            except TimeoutError:
                message = "No place became free in time. Please try again later."
                after = self._terms.queue_seconds
                raise AgentError(message, code="queue_timeout", status=503, retry_after=after) from None
        self._progress.phase = AbortPhase.PREPARING
        self.record.status = RunStatus.RUNNING
        self.record.started_at = clock.now()
        change = StartRun(replace(self.record)) if self._row_made else InsertRun(replace(self.record))
        self._row_made = True
        if await self._host.write(change) is False:
            raise AgentError("The run was closed while it waited.", code="run_closed", status=503)

    async def _run_agent(self) -> None:
        self._progress.phase = AbortPhase.BEFORE_OUTPUT
        self._outlet.started()
        async with aclosing(self._agent.run(self._request, self.signal)) as events:
            async for event in events:
                self._progress.observe(event)
                if isinstance(event, ToolActivity):
                    self._note(NoteKind.TOOL, f"{event.name} {event.state} {event.detail}".rstrip())
                if self._ended:
                    return  # Recorded as unresponsive: close the generator, it yields for nobody.
                if not self.signal.aborted:
                    await self._outlet.write(event)
        if not self._progress.finish_reasons and not self.signal.aborted:
            raise AgentMisbehaved("The agent ended without finishing its answer.")

    async def _say_the_end(self) -> None:
        self._ending = True
        usage = self._progress.usage
        if self._failure is None:
            result: Completed | Failed = Completed(self._progress.finish_reasons, usage)
        else:
            result = Failed(self._public_error(), usage)
        self.record.delivered = await self._outlet.end(result)
        if not self.record.delivered:
            self.abort(AbortCause.CLIENT_DISCONNECT)

    # -- the end --------------------------------------------------------------------------------------

    def _run_on(self) -> None:
        """The client has left, and the agent is configured to finish all the same."""
        if not self._runs_on:
            self._runs_on = True
            self._note(NoteKind.CLIENT_GONE, f"in phase {self._progress.phase}; the agent is configured to finish")

    def _grace_is_over(self) -> None:
        """The agent is still alive: record that, and go on without it."""
        if self.task.done():
            return
        logger.warning("run.unresponsive", extra={"run_id": self.record.id, "agent": self._agent.name})
        self._close(RunStatus.ABORTED, AbortOutcome.UNRESPONSIVE)

    def _settled(self, task: "asyncio.Task[None]") -> None:
        """The task has ended: decide the outcome. The task's own callback, so it is never missed."""
        if self._ended:
            self._note(NoteKind.LATE_END, "the agent ended after its grace period")
            self._host.settled_late(self)
            return
        self.record.settled_at = clock.now()
        if task.cancelled() and not self.signal.aborted:
            self._record_abort(AbortCause.SHUTDOWN, "", "")  # by nobody we know: the loop is being shut down
            self.signal.set(AbortCause.SHUTDOWN)
        if self._last_word is not None and not self._last_word.done():
            self._last_word.add_done_callback(lambda _: self._close(*self._outcome()))
        else:
            self._close(*self._outcome())

    def _outcome(self) -> tuple[RunStatus, AbortOutcome | None]:
        """What became of a run whose task has ended."""
        by_itself = RunStatus.COMPLETED if self._failure is None else RunStatus.FAILED
        if not self.signal.aborted:
            return by_itself, None
        if self._ending or (self._progress.has_finished and self._failure is None):
            return by_itself, AbortOutcome.FINISHED_FIRST
        return RunStatus.ABORTED, AbortOutcome.STOPPED if self._failure is None else AbortOutcome.ERRORED

    def _close(self, status: RunStatus, outcome: AbortOutcome | None) -> None:
        """Hand the end to the journal, once."""
        if self._ended:
            return
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        self._fill_record(status, outcome)
        end = CloseRun(replace(self.record)) if self._row_made else InsertRun(replace(self.record))
        self._host.submit(end).add_done_callback(self._end_is_written)
        details = {name: getattr(self.record, f"abort_{name}") or None for name in ("cause", "phase", "outcome")}
        logger.info("run.finished", extra={"run_id": self.record.id, "status": status, **details})
        self._host.ended(self)

    def _fill_record(self, status: RunStatus, outcome: AbortOutcome | None) -> None:
        record, stats = self.record, self._outlet.stats
        record.status = status
        record.abort_outcome = outcome or ""
        record.finished_at = clock.now()
        record.first_output_at = self._progress.first_output_at
        record.tokens_sent = self._progress.pieces if stats.events else 0
        record.events_sent, record.bytes_sent, record.http_status = stats.events, stats.bytes, stats.http_status
        if outcome is not None:
            record.delivered = bool(record.delivered) and status is not RunStatus.ABORTED
        if status is RunStatus.COMPLETED:
            record.finish_reason = self._progress.finish_reasons[0]
        if self._progress.phase in (AbortPhase.QUEUED, AbortPhase.PREPARING):
            record.started_at = None  # The row said so before the agent was called; it never was.
        else:
            usage = self._progress.usage
            record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
            record.cached_tokens, record.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens
            record.usage_source = UsageSource(usage.source)
        if self._failure is not None:
            error = self._public_error()
            record.error_type, record.error_code, record.error_message = error.type, error.code, error.message

    def _end_is_written(self, _: "asyncio.Future[object]") -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _record_abort(self, cause: AbortCause, by: str, reason: str) -> None:
        self.record.abort_cause = cause
        self.record.abort_phase = self._progress.phase
        self.record.abort_requested_at = clock.now()
        self.record.abort_requested_by = by
        self.record.abort_reason = reason
        logger.info("run.abort", extra={"run_id": self.record.id, "cause": cause, "phase": self._progress.phase})

    def _public_error(self) -> AgentError:
        """The failure as the client may see it; anything unforeseen is logged once and hidden."""
        if isinstance(self._failure, JournalUnavailable):
            message = "The run could not be recorded. Please try again later."
            self._failure = AgentError(message, code="journal_unavailable", status=503, retry_after=1)
        elif not isinstance(self._failure, AgentError):
            details = {"run_id": self.record.id, "agent": self._agent.name}
            logger.error("run.failed", exc_info=self._failure, extra=details)
            self._failure = AgentMisbehaved("The agent failed.")
        assert isinstance(self._failure, AgentError)
        return self._failure

    def _note(self, kind: NoteKind, text: str, *, by: str = "") -> None:
        self._host.submit(Note(NoteRecord(run_id=self.record.id, at=clock.now(), kind=kind, by=by, text=text)))
