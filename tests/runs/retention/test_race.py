"""A hold that is set while runs are just being purged: it comes first and is heeded, or it is refused.

`tests/test_postgresql.py` runs this file on PostgreSQL as well.
"""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from gateway_project.runs.models import LegalHold, Run
from gateway_project.runs.retention.holds import UnknownRun, lift_hold, set_hold
from gateway_project.runs.seals.removal import PurgeRuns
from tests.runs.seals.conftest import Writer, verify

pytestmark = pytest.mark.django_db(transaction=True)

WAITS_SECONDS = 0.5


def purge(run: uuid.UUID) -> int:
    """As a journal does, in a connection and transaction of its own."""
    [purged] = Writer().commit(PurgeRuns([run]))
    return int(purged)


def elsewhere(pool: ThreadPoolExecutor, do: Callable[[], Any]) -> "Future[Any]":
    """Do it in another thread, with a connection of its own."""

    def done() -> Any:
        if connection.vendor == "sqlite":
            connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]  # as a journal's
        try:
            return do()
        finally:
            connection.close()

    return pool.submit(done)


def test_a_hold_waits_for_the_purge_and_is_refused() -> None:
    run = Writer().run()
    purging, may_commit = threading.Event(), threading.Event()

    def slowly() -> None:
        with transaction.atomic():
            assert purge(run) == 1
            purging.set()
            assert may_commit.wait(60)

    with ThreadPoolExecutor(2) as pool:
        removal = elsewhere(pool, slowly)
        assert purging.wait(60)
        hold = elsewhere(pool, lambda: set_hold(run=run, by="nora", reason="x"))
        threading.Event().wait(WAITS_SECONDS)
        waited = not hold.done()
        may_commit.set()
        removal.result(30)
        with pytest.raises(UnknownRun):
            hold.result(30)
    assert waited
    assert not LegalHold.objects.exists()
    assert verify() == {}


@pytest.mark.parametrize("by_principal", [False, True])
def test_a_purge_waits_for_the_hold_and_heeds_it(by_principal: bool) -> None:
    run = Writer().run()
    setting, may_commit = threading.Event(), threading.Event()
    what: dict[str, Any] = {"kind": "api_key", "principal_id": "7"} if by_principal else {"run": run}

    def slowly() -> None:
        with transaction.atomic():
            set_hold(**what, by="nora", reason="x")
            setting.set()
            assert may_commit.wait(60)

    with ThreadPoolExecutor(2) as pool:
        hold = elsewhere(pool, slowly)
        assert setting.wait(60)
        removal = elsewhere(pool, lambda: purge(run))
        threading.Event().wait(WAITS_SECONDS)
        waited = not removal.done()
        may_commit.set()
        hold.result(30)
        assert removal.result(30) == 0
    assert waited
    assert Run.objects.filter(pk=run).exists()


def test_purges_that_clear_lifted_holds_wait_for_each_other_in_turn() -> None:
    """Both keep holds out while they change some."""
    runs = [Writer().run() for _ in range(2)]
    for run in runs:
        lift_hold(set_hold(run=run, by="nora", reason="x").pk, by="nora", reason="x")
    ready = threading.Barrier(2)

    def at_once(run: uuid.UUID) -> int:
        ready.wait(60)
        return purge(run)

    with ThreadPoolExecutor(2) as pool:
        removals = [elsewhere(pool, partial(at_once, run)) for run in runs]
        assert [removal.result(30) for removal in removals] == [1, 1]
    assert not LegalHold.objects.exclude(reason="").exists()
    assert verify() == {}


def test_runs_end_while_a_hold_is_being_set() -> None:
    """A hold keeps purges waiting, and nobody else."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        set_hold(kind="api_key", principal_id="7", by="nora", reason="x")
        assert elsewhere(pool, lambda: Writer().run()).result(30)
