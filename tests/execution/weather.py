"""A database with moods: the journal writes to it by word, every change is seen, a process can be killed."""

import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.journal import Change, Journal
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import RunStatus


class State(NamedTuple):
    """What of a row must not change once it has its end."""

    status: RunStatus
    finished_at: datetime | None
    settled_at: datetime | None
    outcome: str
    cause: str


def states(connection: BaseDatabaseWrapper) -> dict[uuid.UUID, State]:
    """How every run stands in the database."""
    columns = ("id", "status", "finished_at", "settled_at", "abort_outcome", "abort_cause")
    rows = Run.objects.using(connection.alias).values_list(*columns)
    return {row[0]: State(RunStatus(row[1]), *row[2:]) for row in rows}


Step = tuple[uuid.UUID, State | None, State]


@dataclass(frozen=True, slots=True)
class Watched:
    """A change whose effects on all rows are written down."""

    change: Change
    steps: list[Step]

    def apply(self, connection: BaseDatabaseWrapper) -> Any:
        before = states(connection)
        result = self.change.apply(connection)
        after = states(connection)
        self.steps.extend((run, before.get(run), state) for run, state in after.items() if before.get(run) != state)
        return result


@dataclass
class Weather:
    """What the database does to the process under test, and everything that was ever committed."""

    away: bool = False
    stands_still: bool = False
    loses_an_answer: bool = False
    steps: list[Step] = field(default_factory=list)


class Killed(BaseException):
    """The process of this thread is no more."""


class WatchedJournal(Journal):
    """A journal in some weather that moves on by word, and whose process can be killed in the middle of a commit."""

    def __init__(self, spill: Path, weather: Weather, **options: Any) -> None:
        super().__init__("default", spill=spill, retry_seconds=0.005, **options)
        self.weather = weather
        self.runs_freely = False
        self.killed = False
        self.commits_first = False
        self._permits = threading.Semaphore(0)
        self._handled = threading.Semaphore(0)

    def move(self) -> bool:
        """Let the thread handle one batch and wait for it; False when it has nothing to do."""
        if self.runs_freely or self.weather.stands_still or self._thread is None:
            return False
        if not self.waiting and (self.weather.away or not self._spill.pending):
            return False
        self._permits.release()
        assert self._handled.acquire(timeout=20)
        return True

    def run_freely(self) -> None:
        """From now on the thread goes as it likes."""
        self.runs_freely = True
        self._permits.release()

    def stop(self, timeout: float) -> bool:
        self.run_freely()
        return super().stop(timeout)

    def kill(self, *, commits_first: bool) -> None:
        """End the thread without another word; what it comes to first is committed or not."""
        self.commits_first = commits_first
        self.killed = True
        self.stop(20)
        assert self._thread is None or not self._thread.is_alive()

    def _put(self, entry: Any) -> None:
        if not self.killed:
            super()._put(entry)

    def _run(self) -> None:
        with suppress(Killed):
            super()._run()

    def _next_batch(self) -> Any:
        if not self.runs_freely:
            self._permits.acquire()
        return super()._next_batch()

    def _handle(self, batch: Any) -> None:
        try:
            super()._handle(batch)
        finally:
            self._handled.release()

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        if self.killed and not self.commits_first:
            raise Killed
        if self.weather.away:
            raise OperationalError("server closed the connection unexpectedly")
        steps: list[Step] = []
        results = super()._apply([Watched(change, steps) for change in changes])
        self.weather.steps += steps
        if self.killed:
            raise Killed
        if self.weather.loses_an_answer:
            self.weather.loses_an_answer = False
            raise OperationalError("server closed the connection after the commit")
        return results
