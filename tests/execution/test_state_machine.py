"""Random lives of a process and its runs, held against what must always be true.

The real supervisor, runs and journal (with its thread, the test database and spill files) in a loop whose time is
moved on by word. `HYPOTHESIS_PROFILE=long` looks longer.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway_project import clock, ids
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import Usage
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.conf import AgentSettings, GatewaySettings, LimitSettings
from gateway_project.execution.admission import Limit
from gateway_project.execution.outlet import Aborted
from gateway_project.execution.supervisor import Supervisor
from gateway_project.runs.abort import AbortRequest, request_abort
from gateway_project.runs.journal import Change, Query
from gateway_project.runs.lease import Sweep
from gateway_project.runs.models import Run, RunNote, Worker
from gateway_project.runs.seals.triggers import maintenance
from gateway_project.runs.vocabulary import FINAL_STATUSES, TRANSITIONS, AbortCause, RunStatus
from tests.execution.parts import COMMANDS, SCRIPTS, Actor, CountingOutlet, Part, check_end
from tests.execution.weather import WatchedJournal, Weather, states
from tests.runs.records import make_record

PROFILES = {
    "short": settings(max_examples=100, stateful_step_count=30, derandomize=os.environ.get("CI") == "true"),
    "long": settings(max_examples=300, stateful_step_count=60),
}
PROFILE = settings(
    PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "short")],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SETTINGS = GatewaySettings(
    AGENTS={
        "plain": AgentSettings(BACKEND=""),
        "narrow": AgentSettings(BACKEND="", CONCURRENT_RUNS=1),
        "steadfast": AgentSettings(BACKEND="", ON_DISCONNECT="finish"),
    },
    LIMITS=LimitSettings(CONCURRENT_RUNS=3, QUEUED_RUNS=2, QUEUE_SECONDS=30),
    TIMEOUT_SECONDS=120,
    DRAIN_SECONDS=10,
)
AGENTS = sorted(SETTINGS.AGENTS)
LONG = -1
TURNS = [0, 1, 4, None, None, None, LONG]
"""How many turns of the loop go by before the next thing happens; None: until nothing moves any more; LONG: until
the process has looked for wishes and renewed its lease."""
MOST = 5
WHO = st.integers(0, MOST)
LUCK = st.sampled_from([True, True, True, False])
SPANS = [1.1, SETTINGS.GRACE_SECONDS + 0.1, SETTINGS.DRAIN_SECONDS, SETTINGS.LIMITS.QUEUE_SECONDS, 121.0]
"""Seconds: a look for wishes, a grace period and a journal's patience, a drain, a wait in the queue, a whole run."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose time is moved on by word."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


class Ear(logging.Handler):
    """Hears what must not be said."""

    EVENTS = frozenset(
        {"journal.change_refused", "journal.failed", "spill.damaged_tail", "remote.failed", "run.failed"}
    )

    def __init__(self, troubles: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.troubles = troubles

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() in self.EVENTS:
            self.troubles.append(f"{record.getMessage()}: {record.exc_info}")


class Lives(RuleBasedStateMachine):
    """One process after the other on one database, each with its runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.loop = SkippingLoop()
        self.troubles: list[str] = []
        self.loop.set_exception_handler(lambda loop, context: self.troubles.append(str(context)))
        self.ear = Ear(self.troubles)
        logging.getLogger("gateway").addHandler(self.ear)
        monkeypatch.setattr(clock, "monotonic", self.loop.time)
        self.weather = Weather()
        self.others = WatchedJournal(self.folder, Weather(steps=self.weather.steps))
        self.others.run_freely()
        self.all: list[Part] = []
        self.checked = 0
        self.accept_spilled = False
        self.batch = 500
        self.workers: set[str] = set()
        self.lost_workers: set[str] = set()
        self.shutting_down: asyncio.Task[None] | None = None

    # -- what happens ---------------------------------------------------------------------------------

    @initialize(accept_spilled=st.booleans(), batch=st.sampled_from([1, 500]))
    def begin(self, accept_spilled: bool, batch: int) -> None:
        self.accept_spilled = accept_spilled
        self.batch = batch
        self._new_process()

    @rule(
        agent=st.sampled_from(AGENTS),
        script=st.sampled_from(SCRIPTS),
        commands=st.lists(st.sampled_from(COMMANDS), max_size=2),
        aborted_at_once=st.sampled_from([None] * 20 + list(AbortCause) + [None] * 20),
        turns=st.sampled_from(TURNS),
    )
    def start(
        self, agent: str, script: str, commands: list[str], aborted_at_once: AbortCause | None, turns: int | None
    ) -> None:
        part = self.loop.run_until_complete(self._start(agent, script, aborted_at_once))
        for command in commands:
            part.obey(command)
        self._go_on(turns)
        if part.refused == "shutting_down":
            self._finish_shutdown()
            self._new_process()

    @rule(scripts=st.lists(st.sampled_from(SCRIPTS[1:-1]), min_size=1, max_size=3), words=st.integers(0, 2))
    def several_start(self, scripts: list[str], words: int) -> None:
        for script in scripts:
            part = self.loop.run_until_complete(self._start("plain", script, None))
            for _ in range(words):
                part.obey("word")
        self._go_on(None)

    @rule(who=WHO, command=st.sampled_from(COMMANDS), turns=st.sampled_from(TURNS))
    def command(self, who: int, command: str, turns: int | None) -> None:
        for part in self._chosen(who):
            part.obey(command)
        self._go_on(turns)

    @rule(who=WHO, cause=st.sampled_from(list(AbortCause)), turns=st.sampled_from(TURNS))
    def abort(self, who: int, cause: AbortCause, turns: int | None) -> None:
        for part in self._chosen(who):
            self.loop.run_until_complete(self._in_loop(partial(self._abort, part, cause)))
        self._go_on(turns)

    @rule(who=WHO, turns=st.sampled_from(TURNS))
    def client_leaves(self, who: int, turns: int | None) -> None:
        for part in self._chosen(who):
            leave = partial(self._abort, part, AbortCause.CLIENT_DISCONNECT, leaves=True)
            self.loop.run_until_complete(self._in_loop(leave))
        self._go_on(turns)

    @rule(who=WHO, reads=st.booleans(), turns=st.sampled_from(TURNS))
    def client_reads_or_not(self, who: int, reads: bool, turns: int | None) -> None:
        for part in self._chosen(who):
            part.outlet.reads(reads or part.outlet.is_gone)
        self._go_on(turns)

    @rule(
        who=WHO,
        cause=st.sampled_from([AbortCause.OPERATOR_CANCELLED, AbortCause.CLIENT_CANCELLED]),
        turns=st.sampled_from(TURNS),
    )
    def is_wished_elsewhere(self, who: int, cause: AbortCause, turns: int | None) -> None:
        for part in self._chosen(who):
            if request_abort(part.run_id, cause, by="alice") is AbortRequest.ASKED:
                part.wished = cause
        self._go_on(turns)

    @rule(span=st.sampled_from(SPANS), turns=st.sampled_from(TURNS))
    def time_goes_by(self, span: float, turns: int | None) -> None:
        self.loop.skipped += span
        self._go_on(turns)

    @rule(weather=st.sampled_from(["fine", "fine", "away", "stands_still", "loses_an_answer"]))
    def weather_changes(self, weather: str) -> None:
        self.weather.away = weather == "away"
        self.weather.stands_still = weather == "stands_still"
        self.weather.loses_an_answer = weather == "loses_an_answer"

    @rule(turns=st.sampled_from(TURNS))
    def database_takes_a_batch(self, turns: int | None) -> None:
        self.journal.move()
        self._go_on(turns)

    @rule(commits_first=st.booleans(), swept=st.booleans(), luck=LUCK)
    def process_crashes(self, commits_first: bool, swept: bool, luck: bool) -> None:
        if luck:
            return
        self._end_process(commits_first=commits_first)
        if swept:
            self._take_for_lost()
        self._new_process()

    @rule(luck=LUCK, turns=st.sampled_from(TURNS))
    def others_sweep(self, luck: bool, turns: int | None) -> None:
        if luck:
            self._elsewhere(Sweep())
        else:  # The process was paused, as far as they could see.
            self._take_for_lost()
        self._go_on(turns)

    @rule(luck=LUCK, turns=st.sampled_from(TURNS))
    def shutdown_begins_or_ends(self, luck: bool, turns: int | None) -> None:
        if self.shutting_down is None:
            if luck:
                return
            self.shutting_down = self.loop.create_task(self.supervisor.shutdown(), name="shutdown")
        else:
            self._finish_shutdown()
            self._new_process()
        self._go_on(turns)

    # -- what must be true ----------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.troubles
        steps = self.weather.steps[self.checked :]
        self.checked += len(steps)
        for run, before, after in steps:
            if before is None or before.status not in FINAL_STATUSES:
                same = before is not None and before.status == after.status
                assert same or after.status in TRANSITIONS[before.status if before else None], (run, before, after)
            else:
                raise AssertionError(f"an end was changed: {run} {before} {after}")
        for part in self.all:
            assert not part.outlet.complaints
            assert not part.actor.without_record or self.accept_spilled, "an agent was called without a record"
            if part.actor.is_alive:
                held = self.supervisor.runs.get(part.run_id) or self.supervisor.unresponsive.get(part.run_id)
                assert held is part.run, "an agent is alive and nobody's"

    def teardown(self) -> None:
        try:
            if self.all:
                self._bring_to_an_end()
                self.nothing_is_wrong()
                rows = {row.pk: row for row in Run.objects.all()}
                for part in self.all:
                    row = rows.pop(part.run_id, None)
                    part.swept = row is not None and row.worker in self.lost_workers
                    check_end(part, row)
                assert not rows, "rows of nobody"
        finally:
            logging.getLogger("gateway").removeHandler(self.ear)
            self._end_process(commits_first=False)
            self.others.stop(30)
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            with maintenance(connections["default"]):
                for model in (RunNote, Run, Worker):
                    model._default_manager.all().delete()

    def _bring_to_an_end(self) -> None:
        """Good weather, and everybody gives in: now everything has its end."""
        self.weather.away = self.weather.loses_an_answer = self.weather.stands_still = False
        for part in self.all:
            part.outlet.reads(True)
            for command in ("give_in", "finish", "finish"):
                part.obey(command)
        self._go_on(None)
        self.loop.skipped += SETTINGS.GRACE_SECONDS + 0.1
        self._go_on(None)
        if self.shutting_down is None:
            assert not self.supervisor.runs, "a run that does not end"
            assert not self.supervisor.unresponsive, "an agent that ended is still called unresponsive"
            assert self.supervisor.admission.waiting == 0
            limits = [Limit("process", SETTINGS.LIMITS.CONCURRENT_RUNS), Limit("agent:narrow", 1)]
            tickets = [self.supervisor.admission.enter(limits[:1]) for _ in range(limits[0].runs - 1)]
            tickets.append(self.supervisor.admission.enter(limits))
            assert {ticket.state for ticket in tickets} == {"held"}, "a place was not given back"
        self._finish_shutdown()
        self._new_process()  # It writes what the dead have left.
        self._go_on(None)
        self._sweep_all(but=self.supervisor.worker)
        assert not list(self.folder.glob("*.spill")), "a spill file that nobody replayed"

    # -- how it is done -------------------------------------------------------------------------------

    def _new_process(self) -> None:
        self.shutting_down = None
        self.journal = WatchedJournal(
            self.folder,
            self.weather,
            accept_spilled=self.accept_spilled,
            lease_seconds=SETTINGS.LEASE_SECONDS,
            batch=self.batch,
        )
        self.supervisor = Supervisor(SETTINGS, self.journal, worker=ids.uuid7().hex)
        self.workers.add(self.supervisor.worker)
        self.loop.run_until_complete(self._in_loop(self.supervisor.begin))

    def _end_process(self, *, commits_first: bool) -> None:
        """All that the process was is no more; nothing is written on the way."""
        for part in self._living():
            part.lost = True
        if hasattr(self, "journal"):
            self.journal.kill(commits_first=commits_first)

        async def die() -> None:
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for part in self.all:
                    part.actor.released.set()
                    part.actor.script = ""
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=0.1)

        self.loop.run_until_complete(die())

    def _finish_shutdown(self) -> None:
        self.weather.stands_still = False
        task = self.shutting_down or self.loop.create_task(self.supervisor.shutdown(), name="shutdown")

        async def finish() -> None:
            for _ in range(15_000):
                await self._come_to_rest()
                await asyncio.wait([task], timeout=0.002)
                if task.done():
                    return
                self.loop.skipped += 0.5

        self.loop.run_until_complete(finish())
        assert task.done(), "a shutdown without an end"
        task.result()
        assert not self.supervisor.runs, "shut down with open runs"
        self._end_process(commits_first=False)

    def _chosen(self, who: int) -> list[Part]:
        """One of the living, the youngest is 0; sometimes any."""
        among = list(self._living()) if who < MOST else self.all
        return [among[-1 - who % len(among)]] if among else []

    def _living(self) -> Iterator[Part]:
        """The runs of the present process that are not over."""
        for part in self.all:
            if part.run is not None and not part.lost and not part.run.closed.done():
                yield part

    async def _start(self, agent: str, script: str, aborted_at_once: AbortCause | None) -> Part:
        actor = Actor(agent, script, self.weather)
        outlet = CountingOutlet(is_left_alone=agent == "steadfast")
        record = make_record(status=RunStatus.QUEUED, agent=agent, started_at=None)
        request = AgentRequest(run_id=record.id, model="m", messages=(Message("user", (TextPart("hello"),)),))
        try:
            run = self.supervisor.start(record, request, actor, outlet)
        except AgentError as error:
            self.supervisor.reject(replace(record), error)
            self.all.append(Part(None, record.id, actor, outlet, refused=error.code or ""))
            return self.all[-1]
        part = Part(run, record.id, actor, outlet)
        self.all.append(part)
        if aborted_at_once is not None:
            self._abort(part, aborted_at_once)
        return part

    async def _in_loop(self, act: Callable[[], None]) -> None:
        act()

    def _abort(self, part: Part, cause: AbortCause, *, leaves: bool = False) -> None:
        if part.run is None or part.lost:
            return
        if leaves and not part.run.task.done():
            part.outlet.gone(Aborted(AbortCause.CLIENT_DISCONNECT, Usage(0, 0)))
        if part.run.abort(cause):
            assert not part.aborted_for, "aborted twice"
            part.aborted_for = cause

    def _take_for_lost(self) -> None:
        """Every lease lapses, and others sweep: some before the end that waits in a spill file is written."""
        self.workers.add(self.supervisor.worker)
        self.lost_workers |= self.workers
        self._sweep_all(but="")

    def _sweep_all(self, *, but: str) -> None:
        """Much time goes by for the others: every lease but one lapses, and is swept."""

        def lapse(connection: BaseDatabaseWrapper) -> None:
            workers = Worker.objects.using(connection.alias).exclude(pk=but)
            workers.update(lease_until=clock.now() - timedelta(seconds=1))
            # A run whose worker could not register is given time before it is taken for lost.
            Run.objects.using(connection.alias).open().update(received_at=F("received_at") - timedelta(hours=1))

        self._elsewhere(Query(lapse))
        self._elsewhere(Sweep())

    def _elsewhere(self, change: Change) -> None:
        self.loop.run_until_complete(self.others.write(change, within=1e6))

    def _go_on(self, turns: int | None) -> None:
        if turns == LONG:
            self._go_on_for_long()
        else:
            self.loop.run_until_complete(self._come_to_rest() if turns is None else self._turn(turns))

    def _go_on_for_long(self) -> None:
        """After that the process knows what others wish of its runs, and that they took it for dead."""
        for _ in range(2):
            self._go_on(None)
            self.loop.skipped += SETTINGS.LEASE_SECONDS / 3 + 0.1
        self._go_on(None)
        if self.weather.away or self.weather.stands_still or self.shutting_down is not None:
            return
        now = states(connections["default"])
        for part in self._living():
            assert part.run is not None
            closed = part.run_id in now and now[part.run_id].status in FINAL_STATUSES
            assert part.run.signal.aborted or not closed, "works on for a run that others have closed"
            assert part.run.signal.aborted or not part.wished, "nobody heard the wish"

    async def _turn(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _come_to_rest(self) -> None:
        await self._turn(25)
        while self.journal.move():
            await self._turn(25)
        if self.journal.runs_freely:
            await asyncio.sleep(0.005)


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_each_run_has_one_true_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def live() -> Lives:
        return Lives(tmp_path, monkeypatch)

    run_state_machine_as_test(live, settings=PROFILE)  # type: ignore[arg-type]  # any factory will do
    connections["default"].close()
