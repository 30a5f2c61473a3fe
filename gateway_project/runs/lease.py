"""Leases: how the death of a process is noticed. Times are the database's own, so that clocks may differ."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.functions import Now

from gateway_project import clock
from gateway_project.runs.close import close_run
from gateway_project.runs.models import Run, Worker
from gateway_project.runs.record import COLUMNS, RunRecord
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, RunStatus

_REGISTERED_WITHIN = timedelta(minutes=1)
"""A living worker has registered by then: it tries each second while the database is away."""


@dataclass(frozen=True, slots=True)
class RenewLease:
    """A change for the journal: this worker lives. The result is False when others took it for lost."""

    worker: str
    seconds: float

    def apply(self, connection: BaseDatabaseWrapper) -> bool:
        """Renew the lease, or register the worker with its first one."""
        workers = Worker.objects.using(connection.alias)
        until = Now() + timedelta(seconds=self.seconds)
        mine = workers.filter(pk=self.worker)
        if mine.filter(lost_at__isnull=True).update(lease_until=until):
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
class EndLease:
    """A change for the journal: this worker ends in good order."""

    worker: str

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        """Note the end."""
        Worker.objects.using(connection.alias).filter(pk=self.worker).update(ended_at=clock.now())


@dataclass(frozen=True, slots=True)
class Sweep:
    """A change for the journal: close what lost workers left open. The result is how many runs that were."""

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Sweep once."""
        return sweep(connection)


def sweep(connection: BaseDatabaseWrapper) -> int:
    """Close the open runs of every worker whose lease has lapsed, exactly once, in the caller's transaction.

    Returns:
        How many runs were closed.
    """
    workers = Worker.objects.using(connection.alias)
    lapsed = workers.filter(lease_until__lt=Now(), lost_at__isnull=True, ended_at__isnull=True)
    for worker in lapsed.values_list("pk", flat=True):
        # Guarded again: of several sweepers one finds it so.
        lapsed.filter(pk=worker).update(lost_at=clock.now())
    gone = workers.filter(Q(lost_at__isnull=False) | Q(ended_at__isnull=False)).values("pk")
    left_open = Run.objects.using(connection.alias).open()
    # A worker that died before it could register, whose runs came out of its spill file.
    nobodys = left_open.exclude(worker__in=workers.values("pk")).filter(
        received_at__lt=clock.now() - _REGISTERED_WITHIN
    )
    return sum(close_run(_lost(run), connection) for run in [*left_open.filter(worker__in=gone), *nobodys])


def _lost(run: Run) -> RunRecord:
    """The end of a run whose process died: what its agent did then, nobody knows."""
    end = RunRecord(**{name: getattr(run, name) for name in COLUMNS})
    now = clock.now()
    end.status = RunStatus.ABORTED
    end.abort_phase = AbortPhase.QUEUED if run.status == RunStatus.QUEUED else ""
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
