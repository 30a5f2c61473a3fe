"""All runs of this process: starts them, aborts them, and sees them to their end when the process ends."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, TypeVar

from gateway_project import clock, ids
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError
from gateway_project.agents.registry import registry
from gateway_project.agents.request import AgentRequest
from gateway_project.conf import AgentSettings, GatewaySettings, gateway_settings
from gateway_project.execution.account import fill_error
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.admission import Admission, Budget, Limit, QueueFull
from gateway_project.execution.content import ContentLog
from gateway_project.execution.hint_listener import HintListener
from gateway_project.execution.lease_keeper import LeaseKeeper
from gateway_project.execution.outlet import Outlet
from gateway_project.execution.rate_limit import RateLimit
from gateway_project.execution.remote import AbortWatch
from gateway_project.execution.terms import Terms
from gateway_project.observe.metrics import Counter
from gateway_project.runs.alerts.office import Office
from gateway_project.runs.journal import Change, InsertRun, Journal, JournalUnavailable, LeaseLost, Query
from gateway_project.runs.journal.spill import spill_folder
from gateway_project.runs.rates import Spent, spent_lately
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus

logger = logging.getLogger("gateway.supervisor")

_AGENTS_CLOSE_SECONDS = 5.0
_FAREWELL_SECONDS = 2.0
_ALERTS_SECONDS = 2.0

RUNS_ENDED = Counter(
    "gateway_runs_ended_total",
    "Runs that have their end.",
    ("endpoint", "status", "cause", "outcome"),
)


class Supervisor:
    """Owner of every run in this process. Lives in one event loop, as long as the process serves.

    Args:
        settings: limits and times.
        journal: where the runs are written.
        worker: this process's name in the records.
    """

    def __init__(self, settings: GatewaySettings, journal: Journal, *, worker: str) -> None:
        self.settings = settings
        self.journal = journal
        self.worker = worker
        self.runs: dict[uuid.UUID, ActiveRun] = {}
        self.unresponsive: dict[uuid.UUID, ActiveRun] = {}
        """Agents that outlived their grace period and have not ended yet."""
        self.draining = False
        self.farewells: set[Callable[[], Awaitable[None]]] = set()
        """What connections that outlive their runs do when the process ends and no run is left."""
        self._hurry = asyncio.Event()
        self._agent_limits: dict[str, tuple[Limit, ...]] = {}
        limits = settings.LIMITS
        self.admission = Admission(queue=limits.QUEUED_RUNS, retry_after=max(1, limits.QUEUE_SECONDS / 2))
        self._rate_limit = RateLimit(limits)
        self._rejected_rows = Budget(limits.REJECTED_ROWS_PER_MINUTE)
        self._abort_watch = AbortWatch(self)
        self._alerts = Office(settings)
        self._hints = HintListener(settings.DATABASE, self._abort_watch.hint)
        self._lease = LeaseKeeper(journal, worker=worker, seconds=settings.LEASE_SECONDS, on_lost=self._lease_was_lost)

    def begin(self) -> None:
        """Register this process, and from here on keep its lease."""
        self._lease.start()
        self._hints.start()
        self._alerts.open()

    def start(
        self, record: RunRecord, request: AgentRequest, agent: Agent, outlet: Outlet, *, recorded: bool = False
    ) -> ActiveRun:
        """Start a run, or queue it. Returns at once; the run is on its own from here. One that is here already is it.

        Args:
            recorded: whether its row is there already, as `queued`.

        Raises:
            AgentError: 429 when the queue is full, 503 while the process drains. The caller records the refusal.
        """
        if record.id in self.runs:
            return self.runs[record.id]
        entry = self.settings.AGENTS[agent.name]
        if self.draining:
            raise _shutting_down()
        try:
            ticket = self.admission.enter(self._limits(agent, entry, record))
        except QueueFull as full:
            raise _queue_is_full(full) from None
        record.status = RunStatus.QUEUED
        record.worker = self.worker
        try:
            content = ContentLog.of(record, request, self.settings)
            run = ActiveRun(
                self,
                record=record,
                request=request,
                agent=agent,
                outlet=outlet if content is None else content.listening(outlet),
                ticket=ticket,
                terms=Terms.of(self.settings, entry),
                recorded=recorded,
                content=content,
            )
        except BaseException:
            self.admission.leave(ticket)
            raise
        self.runs[record.id] = run
        self._abort_watch.wake()
        return run

    def check_room(self, record: RunRecord) -> None:
        """Refuse a run that `start` would refuse now. Raises AgentError, as `start` does."""
        if self.draining:
            raise _shutting_down()
        agent = registry().agents[record.agent]
        try:
            self.admission.check(self._limits(agent, self.settings.AGENTS[agent.name], record))
        except QueueFull as full:
            raise _queue_is_full(full) from None

    async def check_rate(self, record: RunRecord) -> None:
        """Hold a principal to its rates, counted over all processes in the records themselves.

        Raises:
            AgentError: 429, with the time after which there is room again.
        """
        if not self._rate_limit.is_set:
            return
        with suppress(JournalUnavailable):  # Whether runs start without the database is another setting's business.
            await self._rate_limit.check(record, partial(self._spent_lately, record))

    def reject(self, record: RunRecord, error: AgentError) -> None:
        """Record a refusal, within the principal's budget of refusals."""
        record.http_status = error.status
        fill_error(record, error)
        self._insert_ended(record, RunStatus.REJECTED)

    def abandon(self, record: RunRecord, cause: AbortCause) -> None:
        """Record a request that was ended before it could become a run, within the same budget."""
        record.abort_cause, record.abort_phase, record.abort_outcome = cause, AbortPhase.QUEUED, AbortOutcome.STOPPED
        record.abort_requested_at = record.settled_at = clock.now()
        record.delivered = False
        self._insert_ended(record, RunStatus.ABORTED)

    async def give_notice(self) -> None:
        """Refuse what is new, and let load balancers find out before nobody listens any more."""
        self.draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.DRAIN_NOTICE):
                await self._hurry.wait()

    async def shutdown(self) -> None:
        """Refuse what is new, let what runs run for the drain time, abort the rest, write it all down.

        Returns when every run has its end in the database, or its grace period and the journal's time are over.
        """
        self.draining = True
        if self.runs:
            logger.info("supervisor.draining", extra={"runs": len(self.runs)})
            await self._wait_for_runs(self.settings.DRAIN_SECONDS, unless=self._hurry)
            for run in tuple(self.runs.values()):
                run.abort(AbortCause.SHUTDOWN)
            await self._wait_for_runs(self._longest_grace() + 1)
        if self.farewells:
            words = {asyncio.ensure_future(farewell()) for farewell in self.farewells}
            await asyncio.wait(words, timeout=_FAREWELL_SECONDS)
        await self._hints.stop()
        await self._abort_watch.stop()
        await self._lease.stop()
        written = await _in_own_thread(partial(self.journal.stop, self.settings.JOURNAL_SECONDS))
        if not written:
            logger.error("supervisor.journal_incomplete", extra={"waiting": self.journal.waiting})
        await _in_own_thread(partial(self._alerts.close, within=_ALERTS_SECONDS))
        await registry().close(within=_AGENTS_CLOSE_SECONDS)

    def hurry(self) -> None:
        """Told to end once more: do not wait for the runs any longer."""
        self._hurry.set()

    # -- what a run needs -----------------------------------------------------------------------------

    def submit(self, change: Change) -> "asyncio.Future[object]":
        """Queue a change for the journal."""
        return self.journal.submit(change)

    async def write(self, change: Change) -> object:
        """Queue a change and wait until it is durable. Raises JournalUnavailable."""
        try:
            result: object = await self.journal.write(change, within=self.settings.JOURNAL_SECONDS)
        except LeaseLost:
            self._lease.renew()  # The next run shall start, under a new name.
            raise
        return result

    def ended(self, run: ActiveRun) -> None:
        """A run has its end: its place is free."""
        self.runs.pop(run.record.id, None)
        self.admission.leave(run.ticket)
        _count(run.record)
        if not run.task.done():
            self.unresponsive[run.record.id] = run

    def settled_late(self, run: ActiveRun) -> None:
        """An unresponsive agent has really ended."""
        self.unresponsive.pop(run.record.id, None)

    def _lease_was_lost(self) -> str:
        """Others took this process for dead and closed its runs: stop their agents, and go on under a new name."""
        for run in tuple(self.runs.values()):
            run.abort(AbortCause.WORKER_LOST)
        self.worker = ids.uuid7().hex
        return self.worker

    async def _spent_lately(self, record: RunRecord) -> Spent:
        spent = await self.write(Query(partial(spent_lately, record)))
        assert isinstance(spent, Spent)
        return spent

    def _insert_ended(self, record: RunRecord, status: RunStatus) -> None:
        """The row of what was never started."""
        if not self._rejected_rows.spend(record.principal_id):
            return
        record.status = status
        record.worker = self.worker
        record.finished_at = clock.now()
        _count(record)
        self.submit(InsertRun(copy(record)))

    def _limits(self, agent: Agent, entry: AgentSettings, record: RunRecord) -> tuple[Limit, ...]:
        limits = self._agent_limits.get(agent.name)
        if limits is None:
            own = entry.CONCURRENT_RUNS if entry.CONCURRENT_RUNS is not None else agent.max_concurrent
            limits = (Limit("process", self.settings.LIMITS.CONCURRENT_RUNS),)
            limits += (Limit(f"agent:{agent.name}", own),) if own is not None else ()
            self._agent_limits[agent.name] = limits
        of_key = self.settings.LIMITS.CONCURRENT_RUNS_PER_KEY
        if of_key is None:
            return limits
        return (*limits, Limit(f"key:{record.principal_kind}:{record.principal_id}", of_key))

    async def _wait_for_runs(self, seconds: float, *, unless: asyncio.Event | None = None) -> None:
        """Wait until all have their end, at most so long, or until `unless` is set."""
        if not self.runs:
            return
        ends: asyncio.Future[Any] = asyncio.gather(*(run.closed for run in self.runs.values()))
        stop: asyncio.Future[Any] = asyncio.ensure_future((unless or asyncio.Event()).wait())
        await asyncio.wait([ends, stop], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()

    def _longest_grace(self) -> float:
        own = [entry.GRACE_SECONDS for entry in self.settings.AGENTS.values() if entry.GRACE_SECONDS is not None]
        return max([self.settings.GRACE_SECONDS, *own])


_T = TypeVar("_T")


async def _in_own_thread(work: Callable[[], _T]) -> _T:
    """Do what blocks, but not in one of the loop's threads: something else may hang in each of them."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="gateway-shutdown")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        executor.shutdown(wait=False)


def _shutting_down() -> AgentError:
    return AgentError("The server is shutting down.", code="shutting_down", status=503, retry_after=1)


def _queue_is_full(full: QueueFull) -> AgentError:
    return AgentError(
        "Too many requests are waiting. Please try again later.",
        code="queue_full",
        type="rate_limit_error",
        status=429,
        retry_after=full.retry_after,
    )


def _count(record: RunRecord) -> None:
    RUNS_ENDED.add(
        endpoint=str(record.endpoint),
        status=str(record.status),
        cause=str(record.abort_cause),
        outcome=str(record.abort_outcome),
    )


_current: Supervisor | None = None


def current_supervisor() -> Supervisor:
    """The process's supervisor, made at the first call. Must be called in the event loop that serves."""
    global _current
    if _current is None:
        settings = gateway_settings()
        journal = Journal(
            settings.DATABASE,
            spill=spill_folder(settings.SPILL_DIR, settings.DATABASE),
            accept_spilled=settings.ACCEPT_WITHOUT_DATABASE,
            lease_seconds=settings.LEASE_SECONDS,
        )
        made = Supervisor(settings, journal, worker=ids.uuid7().hex)
        made.begin()
        _current = made
    return _current


def running_supervisor() -> Supervisor | None:
    """The process's supervisor if it serves already."""
    return _current
