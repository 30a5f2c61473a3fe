"""SQLite locked for long by another process: running runs go on, no end is lost, and none is written twice."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway_project import clock
from tests.e2e.abort.test_records import open_run
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store, Templates, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

EACH = 3
BUSY = timedelta(seconds=10)
"""SQLite's own time-out."""
HELD_ON = timedelta(seconds=2)
"""How long the database stays locked after the last answer, at least."""


@pytest.fixture(scope="module")
def template(templates: Templates) -> Store:
    """SQLite only: no other database is locked as a whole."""
    return templates("sqlite")


@pytest.fixture
def gateway(template: Store, tmp_path: Path) -> Iterator[Gateway]:
    settings = CONFIG | {"SPILL_DIR": str(tmp_path / "spill"), "LEASE_SECONDS": 1.5, "JOURNAL_SECONDS": 1}
    server = Gateway(template.copy(tmp_path), settings, tmp_path).start()
    yield server
    server.stop()


class Lock:
    """Another process's hold on the whole database."""

    def __init__(self, store: Store) -> None:
        self._connection = sqlite3.connect(store.path, isolation_level=None, timeout=10, check_same_thread=False)
        self._connection.execute("BEGIN EXCLUSIVE")
        self.since = clock.now()

    def release_at(self, moment: datetime) -> datetime:
        """Hold it until then at least; the moment it was let go."""
        time.sleep(max(0.0, (moment - clock.now()).total_seconds()))
        released_at = clock.now()
        self._connection.execute("COMMIT")
        self._connection.close()
        return released_at


@pytest.mark.parametrize("seconds", [3, 12], ids=["within-the-busy-timeout", "beyond-the-busy-timeout"])
def test_running_runs_go_on_and_each_gets_its_one_end(gateway: Gateway, route: Route, seconds: float) -> None:
    """Until SQLite's own time-out the journal waits, after it records go to the spill file."""
    store, seen = gateway.store, set[str]()
    finishing = [Client(gateway.port) for _ in range(EACH)]
    leaving = [Client(gateway.port) for _ in range(EACH)]
    ids: dict[Client, str] = {}
    for number, client in enumerate([*finishing, *leaving]):
        model, stream = ("slow-60x50ms", number % 2 == 0) if client in finishing else ("slow-3000x20ms", True)
        client.send("POST", route.path, key=gateway.key, body=route.body(f"scripted/{model}", stream=stream))
        ids[client] = open_run(gateway, seen)["id"]
        seen.add(ids[client])
    for client in leaving:
        client.read_until(b"bravo")
    lock = Lock(store)
    left_at = clock.now()
    for client in leaving:
        client.leave("fin")
    for number, client in enumerate(finishing):
        reply = client.read_reply()
        text = route.streamed_text(reply.events) if number % 2 == 0 else route.text(reply.json)
        assert len(text.split()) == 60
    answered_at = clock.now()
    assert answered_at < lock.since + BUSY, "the answers waited for the database"
    body = route.body("scripted/echo", stream=False)
    refused = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    if seconds > BUSY.total_seconds():
        wait_for(lambda: list((gateway.folder / "spill").glob("*/*.spill")), what="the spill file")
    released_at = lock.release_at(max(lock.since + timedelta(seconds=seconds), answered_at + HELD_ON))

    for client in finishing:
        row = store.ended(ids[client])
        assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
        assert row["settled_at"] <= row["finished_at"] < released_at
    for client in leaving:
        row = store.ended(ids[client])
        assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
        assert left_at <= row["abort_requested_at"] <= row["settled_at"] <= row["finished_at"] < released_at
    row = store.ended(refused.headers["x-request-id"])
    assert (row["status"], row["started_at"]) == ("failed", None)
    again = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert store.ended(again.headers["x-request-id"])["status"] == "completed"
    statuses = sorted(run["status"] for run in store.runs())
    assert statuses == ["aborted"] * EACH + ["completed"] * (EACH + 1) + ["failed"]
    assert store.query("SELECT * FROM gateway_run_note") == []
    wait_for(lambda: not list((gateway.folder / "spill").glob("*/*")), what="the empty spill folder")
