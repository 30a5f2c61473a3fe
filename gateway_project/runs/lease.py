"""Leases: how the death of a process is noticed. Times are the database's own, so that clocks may differ."""

import math
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.functions import Now

from gateway_project import clock
from gateway_project.runs.close import close_run
from gateway_project.runs.models import Run, Worker
from gateway_project.runs.record import RunRecord
from gateway_project.runs.statement import Statement
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus

_REGISTERED_WITHIN = timedelta(minutes=1)
"""A living worker has registered by then: it tries each second while the database is away."""


_ALIVE = (
    f"SELECT 1 FROM {Worker._meta.db_table} "  # noqa: S608 (the name is ours)
    "WHERE id = %s AND lost_at IS NULL AND ended_at IS NULL AND lease_until > "
)
LOCK_ALIVE = f"{_ALIVE} STATEMENT_TIMESTAMP() FOR NO KEY UPDATE"
"""Keeps others from taking a worker for lost that is not (PostgreSQL)."""
_LOCK_ALIVE = Statement(LOCK_ALIVE)
_LOOK_ALIVE = Statement(f"{_ALIVE} strftime('%Y-%m-%d %H:%M:%f', 'now')")
"""SQLite has nothing to lock: its transactions that write exclude each other."""


@dataclass(frozen=True, slots=True)
class RenewLease:
    """A change for the journal: this worker lives. The result is False when it was taken for lost, or has ended."""

    worker: str
    seconds: float

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        """Renew the lease, or register the worker with its first one."""
        workers = Worker.objects.using(connection.alias)
        until = Now() + timedelta(seconds=self.seconds)
        mine = workers.filter(pk=self.worker)
        if mine.filter(lost_at__isnull=True, ended_at__isnull=True).update(lease_until=until):
            return True
        if mine.exists():
            return False
        workers.create(
            id=self.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            boot_id=_boot_id(),
            started_at=clock.now(),
            lease_until=until,
        )
        return True


@dataclass(frozen=True, slots=True)
class HoldLease:
    """A change for the journal: keep others from taking this worker for lost until the transaction ends.

    The result is False when they have done so already.
    """

    worker: str
    seconds: float

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        """Lock the worker if its lease holds; renew one that has lapsed and that nobody has noticed."""
        statement = _LOCK_ALIVE if connection.vendor == "postgresql" else _LOOK_ALIVE
        if statement.rows([self.worker], connection):
            return True
        return RenewLease(self.worker, self.seconds).apply(connection)


@dataclass(frozen=True, slots=True)
class EndLease:
    """A change for the journal: this worker ends in good order."""

    worker: str

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        """Note the end."""
        Worker.objects.using(connection.alias).filter(pk=self.worker).update(ended_at=clock.now())


class Swept(NamedTuple):
    """What a sweep has done."""

    workers: int
    """How many workers it found lost."""
    runs: int
    """How many runs it closed, of these and of others."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A change for the journal: close what lost workers left open. The result tells how much that was.

    The journal first writes what dead processes left in their spill files, so that no real end comes too late.

    Attributes:
        not_after: a time of the monotonic clock, behind which nothing is swept. Where the journal had to wait for the
            database, so had all others': those who live could not renew their leases, and nor could this process.
    """

    not_after: float = math.inf

    def apply(self, connection: BaseDatabaseWrapper) -> Swept:
        """Sweep once, unless it is too late for that."""
        return sweep(connection) if clock.monotonic() <= self.not_after else Swept(0, 0)


def sweep(connection: BaseDatabaseWrapper) -> Swept:
    """Close the open runs of every worker whose lease has lapsed, exactly once, in the caller's transaction.

    What another process has locked is left to it: that one is just sweeping it, or has just come back to life.
    """
    workers = Worker.objects.using(connection.alias)
    lapsed = workers.filter(lease_until__lt=Now(), lost_at__isnull=True, ended_at__isnull=True)
    found = list(lapsed.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
    workers.filter(pk__in=found).update(lost_at=clock.now())
    gone = workers.filter(Q(lost_at__isnull=False) | Q(ended_at__isnull=False)).values("pk")
    left_open = Run.objects.using(connection.alias).open_by_owner().select_for_update(skip_locked=True)
    # A worker that died before it could register, whose runs came out of its spill file. How old they are is looked
    # at here: by the index of times a database may walk through all that was ever received.
    nobodys = left_open.exclude(Q(owner__in=workers.values("pk")))
    since = clock.now() - _REGISTERED_WITHIN
    runs = [*left_open.filter(Q(owner__in=gone)), *(run for run in nobodys if run.received_at < since)]
    return Swept(len(found), sum(close_run(_lost(run), connection) for run in runs))


def _lost(run: Run) -> RunRecord:
    """The end of a run whose process died: what its agent did then, nobody knows."""
    end = RunRecord.of(run)
    now = clock.now()
    end.status = RunStatus.ABORTED
    if run.status == RunStatus.QUEUED:
        end.abort_phase = AbortPhase.QUEUED
    elif run.started_at is None:
        end.abort_phase = AbortPhase.PREPARING
    end.abort_outcome = AbortOutcome.UNKNOWN
    end.abort_cause = AbortCause.WORKER_LOST
    end.abort_requested_at = now
    end.finished_at = now
    end.delivered = None
    return end


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
