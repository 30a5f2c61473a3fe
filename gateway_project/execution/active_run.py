"""One run from its start to its recorded end: the only place that decides how it ended.

The run owns its task, never the connection. This object lives outside the task: `abort` sets the signal,
cancels the task and arms a timer for the grace period; the task's end or the timer decides the outcome.
"""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, assert_never

from gateway_project import clock
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.conf import OnDisconnect
from gateway_project.execution.admission import Ticket
from gateway_project.execution.outlet import Aborted, Completed, Failed, Outlet
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

_CHARACTERS_PER_TOKEN = 4


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


class ActiveRun:
    """A run that is queued or running in this process.

    Args:
        record: its row; this object changes it and hands copies to the journal.
        ticket: its place, from `Admission.enter`.
        grace_seconds: how long the agent may take to stop.
        timeout_seconds: how long the whole run may take.
        queue_seconds: how long it may wait for its place.
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
        grace_seconds: float,
        timeout_seconds: float,
        queue_seconds: float,
        on_disconnect: OnDisconnect,
    ) -> None:
        self.record = record
        self.signal = AbortSignal()
        self.ticket = ticket
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the run's end is durable."""
        self._host = host
        self._request = request
        self._agent = agent
        self._outlet = outlet
        self._grace_seconds = grace_seconds
        self._timeout_seconds = timeout_seconds
        self._queue_seconds = queue_seconds
        self._on_disconnect = on_disconnect
        self._phase = AbortPhase.QUEUED
        self._row_made = False
        self._ended = False
        self._ending = False
        self._runs_on = False
        self._cancels = 0
        self._finishes: dict[int, FinishReason] = {}
        self._usage: Usage | None = None
        self._output_characters = 0
        self._failure: Exception | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._last_word: asyncio.Task[bool] | None = None
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(timeout_seconds, self.abort, AbortCause.TIMEOUT))
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
            if cause not in CLIENT_IS_GONE or self.record.abort_cause not in CLIENT_IS_GONE:
                self._note(NoteKind.SECOND_CAUSE, f"{cause}: {reason}" if reason else cause, by=by)
            return False
        if cause is AbortCause.CLIENT_DISCONNECT and self._on_disconnect == "finish":
            if not self._runs_on:
                self._runs_on = True
                self._note(NoteKind.CLIENT_GONE, f"in phase {self._phase}; the agent is configured to finish")
            return False
        self.record.abort_cause = cause
        self.record.abort_phase = self._phase
        self.record.abort_requested_at = clock.now()
        self.record.abort_requested_by = by
        self.record.abort_reason = reason
        logger.info("run.abort", extra={"run_id": self.record.id, "cause": cause, "phase": self._phase})
        self.signal.set(cause)
        if self._ending:
            return True  # The agent is done and its last bytes are on their way: nothing is left to stop.
        self._cancels += 1
        self.task.cancel()
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._grace_seconds, self._grace_is_over))
        if cause not in CLIENT_IS_GONE:
            word = Aborted(cause, self._counted_usage())
            self._last_word = loop.create_task(self._outlet.end(word), name=f"run:{self.record.id}:last-word")
        return True

    # -- the run's own task ---------------------------------------------------------------------------

    async def _drive(self) -> None:
        bind_run(self.record.id)
        try:
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
        if self.signal.aborted:
            return
        self._ending = True
        if self._failure is None:
            reasons = tuple(self._finishes[choice] for choice in sorted(self._finishes))
            self.record.delivered = await self._outlet.end(Completed(reasons, self._counted_usage()))
        else:
            self.record.delivered = await self._outlet.end(Failed(self._public_error(), self._counted_usage()))
        if not self.record.delivered:
            self.abort(AbortCause.CLIENT_DISCONNECT)

    async def _run_agent(self) -> None:
        await self._take_place()
        self._phase = AbortPhase.BEFORE_OUTPUT
        self._outlet.started()
        async with aclosing(self._agent.run(self._request, self.signal)) as events:
            async for event in events:
                self._observe(event)
                if self._ended:
                    return  # Recorded as unresponsive: close the generator, it yields for nobody.
                if not self.signal.aborted:
                    await self._outlet.write(event)
        if not self._finishes and not self.signal.aborted:
            raise AgentMisbehaved("The agent ended without finishing its answer.")

    async def _take_place(self) -> None:
        """Wait for a place, and make the record durable before the agent is called."""
        if self.ticket.state == "waiting":
            self._row_made = True
            await self._host.write(InsertRun(replace(self.record)))
            try:
                async with asyncio.timeout(self._queue_seconds):
                    await self.ticket.wait()
            except TimeoutError:
                raise AgentError(
                    "No place became free in time. Please try again later.",
                    code="queue_timeout",
                    status=503,
                    retry_after=self._queue_seconds,
                ) from None
        self._phase = AbortPhase.PREPARING
        self.record.status = RunStatus.RUNNING
        self.record.started_at = clock.now()
        if self._row_made:
            if not await self._host.write(StartRun(replace(self.record))):
                raise AgentError("The run was closed while it waited.", code="run_closed", status=503)
        else:
            self._row_made = True
            await self._host.write(InsertRun(replace(self.record)))

    def _observe(self, event: AgentEvent) -> None:
        """Keep what the record needs of an event."""
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._output(len(event.text))
            case ToolCallDelta() | ToolCall():
                self._output(len(event.arguments))
            case Usage():
                self._usage = event
            case Finish():
                self._finishes[event.choice] = event.reason
                if len(self._finishes) >= self._request.choices:
                    self._phase = AbortPhase.FINISHING
            case ToolActivity():
                self._note(NoteKind.TOOL, f"{event.name} {event.state} {event.detail}".rstrip())
            case MessagePhase():
                pass
            case _:
                assert_never(event)

    def _output(self, characters: int) -> None:
        self._output_characters += characters
        self.record.tokens_sent += 1
        if self.record.first_output_at is None:
            self.record.first_output_at = clock.now()
            self._phase = AbortPhase.STREAMING

    # -- the end --------------------------------------------------------------------------------------

    def _grace_is_over(self) -> None:
        """The agent is still alive: record that, and go on without it."""
        if self.task.done():
            return
        logger.warning("run.unresponsive", extra={"run_id": self.record.id, "agent": self._agent.name})
        self.record.abort_outcome = AbortOutcome.UNRESPONSIVE
        self.record.status = RunStatus.ABORTED
        self._close()

    def _settled(self, task: "asyncio.Task[None]") -> None:
        """The task has ended: decide the outcome. The task's own callback, so it is never missed."""
        if self._ended:
            self._note(NoteKind.LATE_END, "the agent ended after its grace period")
            self._host.settled_late(self)
            return
        self.record.settled_at = clock.now()
        if task.cancelled() and not self.signal.aborted:
            # Cancelled by nobody we know: the loop is being shut down.
            self.record.abort_cause = AbortCause.SHUTDOWN
            self.record.abort_phase = self._phase
            self.record.abort_requested_at = self.record.settled_at
            self.record.abort_outcome = AbortOutcome.STOPPED
            self.record.status = RunStatus.ABORTED
        elif not self.signal.aborted:
            self.record.status = RunStatus.COMPLETED if self._failure is None else RunStatus.FAILED
        else:
            self._decide_outcome()
        if self._last_word is not None and not self._last_word.done():
            self._last_word.add_done_callback(lambda _: self._close())
        else:
            self._close()

    def _decide_outcome(self) -> None:
        if self._ending or self._has_finished():
            self.record.abort_outcome = AbortOutcome.FINISHED_FIRST
            self.record.status = RunStatus.COMPLETED if self._failure is None else RunStatus.FAILED
            self.record.delivered = bool(self.record.delivered)
        elif self._failure is not None:
            self.record.abort_outcome = AbortOutcome.ERRORED
            self.record.status = RunStatus.ABORTED
        else:
            self.record.abort_outcome = AbortOutcome.STOPPED
            self.record.status = RunStatus.ABORTED

    def _has_finished(self) -> bool:
        return bool(self._finishes) and len(self._finishes) >= self._request.choices and self._failure is None

    def _close(self) -> None:
        """Hand the end to the journal, once."""
        if self._ended:
            return
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        record = self.record
        record.finished_at = clock.now()
        if record.status == RunStatus.ABORTED:
            record.delivered = False
        if record.status == RunStatus.COMPLETED:
            record.finish_reason = self._finishes.get(0, "")
        stats = self._outlet.stats
        record.events_sent, record.bytes_sent, record.http_status = stats.events, stats.bytes, stats.http_status
        if record.started_at is not None:
            self._record_usage(self._counted_usage())
        if self._failure is not None:
            self._record_failure()
        end = CloseRun(replace(record)) if self._row_made else InsertRun(replace(record))
        self._host.submit(end).add_done_callback(self._end_is_written)
        logger.info(
            "run.finished",
            extra={
                "run_id": record.id,
                "status": record.status,
                "cause": record.abort_cause or None,
                "phase": record.abort_phase or None,
                "outcome": record.abort_outcome or None,
            },
        )
        self._host.ended(self)

    def _end_is_written(self, _: "asyncio.Future[object]") -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _record_usage(self, usage: Usage) -> None:
        self.record.input_tokens = usage.input_tokens
        self.record.output_tokens = usage.output_tokens
        self.record.cached_tokens = usage.cached_tokens
        self.record.reasoning_tokens = usage.reasoning_tokens
        self.record.usage_source = UsageSource(usage.source)

    def _counted_usage(self) -> Usage:
        """What the agent reported, or an estimate: a token for each four characters, begun ones whole."""
        if self._usage is not None:
            return self._usage
        return Usage(
            input_tokens=-(-self._request.characters // _CHARACTERS_PER_TOKEN) if self.record.started_at else 0,
            output_tokens=-(-self._output_characters // _CHARACTERS_PER_TOKEN),
            source="estimated",
        )

    def _record_failure(self) -> None:
        error = self._public_error()
        self.record.error_type = error.type
        self.record.error_code = error.code
        self.record.error_message = error.message

    def _public_error(self) -> AgentError:
        """The failure as the client may see it; anything unforeseen is logged once and hidden."""
        failure = self._failure
        if isinstance(failure, JournalUnavailable):
            self._failure = AgentError(
                "The run could not be recorded. Please try again later.",
                code="journal_unavailable",
                status=503,
                retry_after=1,
            )
        elif not isinstance(failure, AgentError):
            logger.error("run.failed", exc_info=failure, extra={"run_id": self.record.id, "agent": self._agent.name})
            self._failure = AgentMisbehaved("The agent failed.")
        assert isinstance(self._failure, AgentError)
        return self._failure

    def _note(self, kind: NoteKind, text: str, *, by: str = "") -> None:
        self._host.submit(Note(NoteRecord(run_id=self.record.id, at=clock.now(), kind=kind, by=by, text=text)))
