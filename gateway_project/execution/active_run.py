"""One run from its start to its recorded end: the only place that decides how it ended.

The run owns its task, never the connection. This object lives outside that task: `abort` sets the signal,
cancels the task and arms a timer for the grace period; the task's end or the timer decides the outcome.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from copy import copy
from functools import partial
from typing import Protocol

from django.db import DatabaseError

from gateway_project import clock
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import AgentEvent, Finish, ToolActivity
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.agents.tasks import RunTasks
from gateway_project.execution.account import fill_end, public_error
from gateway_project.execution.admission import Ticket
from gateway_project.execution.content import ContentLog
from gateway_project.execution.inputs import prepare
from gateway_project.execution.notes import RunNotes
from gateway_project.execution.outlet import Aborted, Completed, Failed, Outlet, RunResult, writer_to
from gateway_project.execution.progress import Progress
from gateway_project.execution.terms import Terms
from gateway_project.execution.tool_contract import ToolContract
from gateway_project.observe.context import bind_run
from gateway_project.runs.journal import CallAgent, Change, CloseRun, InsertRun, JournalUnavailable, StartRun
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import (
    CLIENT_IS_GONE,
    AbortCause,
    AbortOutcome,
    AbortPhase,
    NoteKind,
    RunStatus,
)

logger = logging.getLogger("gateway.run")

_EVENTS_PER_TURN = 50


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
        record: its row; this object changes it, and hands copies to the journal while it does.
        ticket: its place, from `Admission.enter`.
        recorded: whether the row is there already, as `queued`.
        content: what keeps in mind what is asked and answered, where that is to be kept.
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
        recorded: bool = False,
        content: ContentLog | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.signal = AbortSignal()
        self.ticket = ticket
        self._end: asyncio.Future[object] | None = None  # in the journal's hands
        self._closed: asyncio.Future[None] | None = None
        self._host = host
        self._request = request
        self._agent = agent
        self._outlet = outlet
        self._write = writer_to(outlet)
        self._terms = terms
        self._content = content
        self._progress = Progress(request) if content is None else content.progress(request)
        self._tasks = RunTasks()
        self._error: AgentError | None = None
        self._notes = RunNotes(host.submit, record.id)
        self._contract = ToolContract(request, self._notes.call_dropped)
        self._row_made = recorded
        self._runs_on = False  # without its client, as configured
        self._ending = False  # the agent is done, the last bytes are on their way
        self._ended = False  # the end is in the journal's hands
        self._cancels = 0  # ours
        self._stale_cancels = 0  # that the agent has swallowed before
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
        self._progress.nobody_hears()
        if cause in CLIENT_IS_GONE:
            self._let_go(cause)
        if self.signal.aborted:
            if cause not in CLIENT_IS_GONE:  # A client's leaving after it was told is no news.
                self._notes.add(NoteKind.SECOND_CAUSE, f"{cause}: {reason}" if reason else cause, by=by)
            return False
        if cause is AbortCause.CLIENT_DISCONNECT and self._terms.on_disconnect == "finish":
            self._run_on()
            return False
        self._record_abort(cause, by, reason)
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._terms.grace_seconds, self._grace_is_over))
        if not self._ending:
            self._stale_cancels = self.task.cancelling()
            self._cancels += 1
            self.task.cancel()
            if cause not in CLIENT_IS_GONE:
                self._last_word = self._tell(cause)
        self.signal.set(cause)  # Calls the agent's own code, which must find everything under way.
        return True

    def note(self, kind: NoteKind, text: str) -> None:
        """Add to the run's timeline."""
        self._notes.add(kind, text)

    @property
    def closed(self) -> "asyncio.Future[None]":
        """Done when the run's end is durable, or refused for good. Made for the first who asks: of most nobody does."""
        if self._closed is None:
            self._closed = self.task.get_loop().create_future()
            if self._end is not None and self._end.done():
                self._closed.set_result(None)
            elif self._end is not None:
                self._end.add_done_callback(self._end_is_written)
        return self._closed

    # -- the run's own task ---------------------------------------------------------------------------

    async def _drive(self) -> None:
        bind_run(self.record.id)
        self._tasks.enter()
        try:
            has_inputs = any(self._request.media)
            await self._take_place(is_ready=not has_inputs)
            if has_inputs:
                await self._prepare()
            await self._run_agent()
        except asyncio.CancelledError:
            cancels = self.task.cancelling()
            if self._cancels and cancels <= self._cancels + self._stale_cancels:
                # Only ours came back. Give them back, so that nobody takes this task for cancelled.
                for _ in range(cancels):
                    self.task.uncancel()
            elif cancels:
                await self._tasks.end()
                raise  # Somebody else cancels this task: their wish stands.
            else:
                self._error = AgentMisbehaved("The agent cancelled itself.")
        except (GeneratorExit, KeyboardInterrupt):
            raise  # Not the agent's own: nothing goes on after them.
        except BaseException as failure:  # noqa: BLE001 (foreign code: what it raises ends its run, not us)
            self._failed(failure)
        if self.signal.aborted:
            await self._tasks.end()  # The agent has stopped when all that it started has.
        else:
            await self._end_by_itself()

    async def _take_place(self, *, is_ready: bool) -> None:
        """Wait for a place, and make the record durable. It says that the agent is called if all is ready for that."""
        if self.ticket.state == "waiting":
            if not self._row_made:
                self._row_made = True
                await self._write_start(InsertRun(copy(self.record)))
            try:
                async with asyncio.timeout(self._terms.queue_seconds):
                    await self.ticket.wait()
            except TimeoutError:
                message = "No place became free in time. Please try again later."
                after = self._terms.queue_seconds
                raise AgentError(message, code="queue_timeout", status=503, retry_after=after) from None
        self._progress.phase = AbortPhase.PREPARING
        self.record.status = RunStatus.RUNNING
        self.record.started_at = clock.now() if is_ready else None
        change = StartRun(copy(self.record)) if self._row_made else InsertRun(copy(self.record))
        self._row_made = True
        await self._write_start(change)

    async def _prepare(self) -> None:
        """Get what the request refers to. In this task: an abort stops every download."""
        note = partial(self._notes.add, NoteKind.INPUT)
        self._request = await prepare(self._request, self._agent, self._terms.inputs, note=note)
        self._progress.request = self._request
        self.record.started_at = clock.now()
        await self._write_start(CallAgent(copy(self.record)))

    async def _write_start(self, change: Change) -> None:
        try:
            is_written = await self._host.write(change)
        except DatabaseError as error:  # which the journal has logged
            raise JournalUnavailable("the database refuses the run") from error
        if is_written is False:
            raise AgentError("The run was closed, or started, while it waited.", code="run_closed", status=503)

    async def _run_agent(self) -> None:
        self._progress.phase = AbortPhase.BEFORE_OUTPUT
        self._outlet.started()
        if self._terms.first_output_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(self._terms.first_output_seconds, self._first_output_is_late))
        async with aclosing(self._agent.run_in_bursts(self._request, self.signal)) as answer:
            count = 0
            async for said in answer:
                burst = said if isinstance(said, tuple) else (said,)
                self._observe(burst)
                if self._ended:
                    return  # Recorded as unresponsive: close the generator, it yields for nobody.
                if not self.signal.aborted:
                    await self._pass_on(burst)
                count += len(burst) or 1
                if count >= _EVENTS_PER_TURN:
                    count = 0
                    await asyncio.sleep(0)  # An agent that never waits must not keep the loop from everybody else.
        if not self._progress.has_finished and not self.signal.aborted:
            raise AgentMisbehaved("The agent ended without finishing its answer.")

    def _observe(self, burst: Sequence[AgentEvent]) -> None:
        self._progress.observe_all(burst)
        for event in burst:
            if type(event) is ToolActivity:
                self._notes.tool(event)

    async def _pass_on(self, burst: Sequence[AgentEvent]) -> None:
        """Write what the request lets the client have of a burst."""
        if self._contract.is_idle:
            await self._write(burst)
            return
        admitted: list[AgentEvent] = []
        try:
            for event in burst:
                for one in self._contract.admit(event):
                    if isinstance(one, Finish) and one is not event:
                        self._progress.observe(one)
                    admitted.append(one)
        finally:
            if admitted:  # Also what came before that which the request does not permit.
                await self._write(admitted)

    async def _end_by_itself(self) -> None:
        self._ending = True
        usage = self._progress.usage
        if self._error is None:
            delivered = await self._say(Completed(self._progress.finish_reasons, usage))
        else:
            delivered = await self._say(Failed(self._error, usage))
        self.record.delivered = delivered
        if not delivered:
            self.abort(AbortCause.CLIENT_DISCONNECT)

    def _tell(self, cause: AbortCause) -> "asyncio.Task[bool]":
        """Say as the last word that the run is aborted: in a task of its own, since the run's is cancelled."""
        word = self._say(Aborted(cause, self._progress.usage))
        return self.task.get_loop().create_task(word, name=f"run:{self.record.id}:last-word")

    async def _say(self, result: RunResult) -> bool:
        """Say the last word. An answer that cannot be said is a failure of the run; the outlet has told the client."""
        try:
            return await self._outlet.end(result)
        except Exception as failure:  # noqa: BLE001 (an answer that cannot be encoded must not cost the record)
            if not isinstance(result, Aborted):
                self._failed(failure)
            return True

    # -- the end --------------------------------------------------------------------------------------

    def _run_on(self) -> None:
        """The client has left, and the agent is configured to finish all the same."""
        if not self._runs_on:
            self._runs_on = True
            self._notes.add(NoteKind.CLIENT_GONE, f"in phase {self._progress.phase}; the agent is configured to finish")

    def _first_output_is_late(self) -> None:
        if self._progress.phase is AbortPhase.BEFORE_OUTPUT:
            self.abort(AbortCause.TIMEOUT, reason=f"no output within {self._terms.first_output_seconds:g} s")

    def _grace_is_over(self) -> None:
        """Go on without whatever is not over yet: an agent that does not stop, or a client that does not read."""
        if self._ended:
            return
        if not self._ending and not self.task.done():
            logger.warning("run.unresponsive", extra={"run_id": self.record.id, "agent": self._agent.name})
            self._close(RunStatus.ABORTED, AbortOutcome.UNRESPONSIVE)
            return
        self._let_go(AbortCause(self.record.abort_cause))
        for saying in (self.task, self._last_word):
            if saying is not None and not saying.done():
                saying.cancel()

    def _let_go(self, cause: AbortCause) -> None:
        """Tell the outlet that nobody listens. A fault of its own must not keep the agent running."""
        try:
            self._outlet.gone(Aborted(cause, self._progress.usage))
        except Exception:
            logger.exception("run.outlet_failed", extra={"run_id": self.record.id})

    def _settled(self, task: "asyncio.Task[None]") -> None:
        """The task has ended: decide the outcome. The task's own callback, so it is never missed."""
        if self._ended:
            self._notes.add(NoteKind.LATE_END, "the agent ended after its grace period")
            self._host.settled_late(self)
            return
        self.record.settled_at = clock.now()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failed(failure)  # such as SystemExit, which is no Exception
        if task.cancelled() and not self.signal.aborted:
            self._cancelled_by_others()
        elif self._last_word is not None and not self._last_word.done():
            self._last_word.add_done_callback(lambda _: self._close(*self._outcome()))
        else:
            self._close(*self._outcome())

    def _cancelled_by_others(self) -> None:
        """By nobody we know, as where the loop is shut down: the record comes first, then the client."""
        self._record_abort(AbortCause.SHUTDOWN, "", "its task was cancelled by other code")
        self.signal.set(AbortCause.SHUTDOWN)
        self._close(*self._outcome())
        if self._ending:
            return  # In the middle of its last word, which must not be said twice.
        self._last_word = self._tell(AbortCause.SHUTDOWN)
        self.task.get_loop().call_later(self._terms.grace_seconds, self._last_word.cancel)

    def _outcome(self) -> tuple[RunStatus, AbortOutcome | None]:
        """What became of a run whose task has ended."""
        by_itself = RunStatus.COMPLETED if self._error is None else RunStatus.FAILED
        if not self.signal.aborted:
            return by_itself, None
        if self._ending or (self._progress.has_finished and self._error is None):
            return by_itself, AbortOutcome.FINISHED_FIRST
        return RunStatus.ABORTED, AbortOutcome.STOPPED if self._error is None else AbortOutcome.ERRORED

    def _close(self, status: RunStatus, outcome: AbortOutcome | None) -> None:
        """Hand the end to the journal, once."""
        if self._ended:
            return
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        try:
            self._hand_in_end(status, outcome)
        finally:
            self._host.ended(self)  # Whatever happens, it gives its place back.
        details = {name: getattr(self.record, f"abort_{name}") or None for name in ("cause", "phase", "outcome")}
        logger.info("run.finished", extra={"run_id": self.record.id, "status": status, **details})

    def _hand_in_end(self, status: RunStatus, outcome: AbortOutcome | None) -> None:
        try:
            stats = self._outlet.stats
            fill_end(self.record, status, outcome, progress=self._progress, stats=stats, error=self._error)
            if self._content is not None:  # In front: a run that has its end has its content, too.
                self._content.hand_over(self._host.submit)
        except Exception:  # What cannot be told of the end must not cost the end itself, which stands there by now.
            logger.exception("run.end_incomplete", extra={"run_id": self.record.id})
        # From here on nothing changes it but the task, if that goes on.
        record = self.record if self.task.done() else copy(self.record)
        self._end = self._host.submit(CloseRun(record) if self._row_made else InsertRun(record))
        if self._closed is not None:
            self._end.add_done_callback(self._end_is_written)

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

    def _failed(self, failure: BaseException) -> None:
        self._tasks.cancel()  # Of what failed nothing shall work on, behind a record that is closed.
        self._error = public_error(failure, run_id=self.record.id, agent=self._agent.name)
