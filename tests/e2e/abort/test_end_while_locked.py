"""The database lets nobody in, as while a migration rewrites a table, and meanwhile a process ends: no end is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.abort.test_records import open_run
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Store
from tests.e2e.routes import Route
from tests.e2e.wire import Client

pytestmark = pytest.mark.e2e


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Somebody else has the table of runs for himself."""
    if store.kind == "sqlite":
        connection = sqlite3.connect(store.path, isolation_level=None, timeout=10)
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("COMMIT")
        connection.close()
        return
    import psycopg

    with psycopg.connect(store.url) as owner:
        owner.execute("LOCK TABLE gateway_run IN ACCESS EXCLUSIVE MODE")
        yield


def test_the_next_process_writes_the_ends_that_waited(make_gateway: MakeGateway, route: Route, tmp_path: Path) -> None:
    settings = {"SPILL_DIR": str(tmp_path / "spill"), "LEASE_SECONDS": 1.5, "JOURNAL_SECONDS": 1, "DRAIN_SECONDS": 5}
    gateway = make_gateway(**settings)
    finishing, leaving = Client(gateway.port), Client(gateway.port)
    finishing.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-10x50ms", stream=True))
    finished = open_run(gateway, set())
    leaving.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    left = open_run(gateway, {finished["id"]})
    with locked(gateway.store):
        leaving.leave("fin")
        assert len(route.streamed_text(finishing.read_reply().events).split()) == 10
        assert gateway.terminate() == 0
    assert "supervisor.journal_incomplete" not in gateway.log
    make_gateway(**settings)
    row = gateway.store.ended(finished["id"])
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    row = gateway.store.ended(left["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    assert [gateway.store.notes(run["id"]) for run in (finished, left)] == [[], []]
