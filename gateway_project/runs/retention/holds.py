"""Legal holds: set, lifted, and heeded by everything that removes."""

import uuid
from collections.abc import Iterable

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.models import Run
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.seals.rows import chunks
from gateway_project.runs.sql import text_limits


class UnknownRun(ValueError):
    """There is nothing to hold."""


def set_hold(
    *, run: uuid.UUID | None = None, kind: str = "", principal_id: str = "", by: str, reason: str
) -> LegalHold:
    """Hold a run, or all runs of a principal. When this returns, nothing removes them any more.

    Raises:
        UnknownRun: when the run is not there; it may have been purged a moment ago.
    """
    alias = gateway_settings().DATABASE
    with transaction.atomic(using=alias):
        hold = LegalHold.objects.using(alias).create(
            run=run, principal_kind=kind, principal_id=principal_id, reason=reason, set_by=_cut("set_by", by)
        )
        # Looked for behind the insertion, which waits for a purge that is just going on (`keep_holds_out`).
        if run is not None and not Run.objects.using(alias).filter(pk=run).exists():
            raise UnknownRun(f"There is no run {run}.")
    return hold


def lift_hold(hold_id: int, *, by: str, reason: str) -> bool:
    """End a hold. The first time counts; returns whether this was it."""
    holds = LegalHold.objects.using(gateway_settings().DATABASE).filter(pk=hold_id).in_force()
    return bool(holds.update(lifted_by=_cut("lifted_by", by), lifted_at=clock.now(), lift_reason=reason))


def _cut(column: str, text: str) -> str:
    return text[: text_limits(LegalHold)[column]]


def keep_holds_out(connection: BaseDatabaseWrapper, *, alone: bool = False) -> None:
    """Let nobody set a hold until the transaction is over. What is read of holds from here on stays true.

    SQLite has one writer at a time anyhow.

    Args:
        alone: for who calls `clear_lifted_holds`: one transaction at a time, or two would wait for each other.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            if alone:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [LegalHold._meta.db_table])
            cursor.execute(f"LOCK TABLE {LegalHold._meta.db_table} IN SHARE MODE")


def held_among(run_ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper) -> set[uuid.UUID]:
    """Those of the runs that a hold is on, by itself or by its principal."""
    runs = Run.objects.using(connection.alias).filter(pk__in=list(run_ids))
    return set(runs.held().values_list("pk", flat=True))


def clear_lifted_holds(run_ids: Iterable[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
    """Take the reasons out of lifted holds on runs that are purged or erased: they may name somebody.

    That there was a hold stays, on which run, by whom and when. Comes behind ``keep_holds_out(…, alone=True)`` and in
    front of what touches rows that others wait for.
    """
    for chunk in chunks(run_ids):
        lifted = LegalHold.objects.using(connection.alias).filter(run__in=chunk, lifted_at__isnull=False)
        told = lifted.exclude(reason="", lift_reason="")
        if told.exists():  # Else it need not wait for others who keep holds out.
            told.update(reason="", lift_reason="")


def is_held(run_id: uuid.UUID) -> bool:
    """Whether a hold is on this run."""
    return bool(held_among([run_id], connections[gateway_settings().DATABASE]))
