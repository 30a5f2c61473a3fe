"""The database goes away while runs run: they go on, and no end is lost, and none is written twice."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.abort.test_records import open_run
from tests.e2e.config import CONFIG
from tests.e2e.conftest import WITH_A_DATABASE_TO_CUT, MakeGateway
from tests.e2e.gateway import Gateway, Store, manage, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = [pytest.mark.e2e, *WITH_A_DATABASE_TO_CUT]


@pytest.fixture
def gateway(make_to_cut: MakeGateway) -> Gateway:
    return make_to_cut()


def test_running_runs_go_on_and_their_ends_are_written_when_it_is_back(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    finishing, leaving = Client(gateway.port), Client(gateway.port)
    finishing.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=stream))
    finished = open_run(gateway, set())
    leaving.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    left = open_run(gateway, {finished["id"]})
    leaving.read_until(b"bravo")
    gateway.store.cut()
    reply = finishing.read_reply()
    text = route.streamed_text(reply.events) if stream else route.text(reply.json)
    assert len(text.split()) == 60
    leaving.leave("fin")
    body = route.body("scripted/echo", stream=stream)
    wait_for(lambda: _refusal(gateway, route, body) == "database_unavailable", what="the refusal of the key")
    wait_for(lambda: any((gateway.folder / "spill").glob("*/*.spill")), what="the spill file")
    assert ask(gateway.port, "GET", "/readyz", key=None).status == 503
    gateway.store.restore()
    row = gateway.store.ended(finished["id"])
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    row = gateway.store.ended(left["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    assert [gateway.store.notes(run["id"]) for run in (finished, left)] == [[], []]
    wait_for(lambda: not list((gateway.folder / "spill").glob("*/*.spill")), what="the empty spill folder")
    wait_for(lambda: ask(gateway.port, "POST", route.path, key=gateway.key, body=body).status == 200)


def test_an_end_on_disk_survives_the_death_of_its_process(gateway: Gateway, route: Route, tmp_path: Path) -> None:
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=False))
    run = open_run(gateway, set())
    gateway.store.cut()
    assert client.read_reply().status == 200
    wait_for(lambda: any((gateway.folder / "spill").glob("*/*.spill")), what="the spill file")
    wait_for(lambda: _mentions(gateway, run["id"]), what="the end in the spill file")
    gateway.stop()
    gateway.store.restore()
    (tmp_path / "next").mkdir()
    successor = Gateway(gateway.store, gateway.config, tmp_path / "next").start()
    try:
        row = gateway.store.ended(run["id"])
        assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    finally:
        successor.stop()


def test_a_connection_that_was_cut_costs_nothing_where_the_next_one_opens(gateway: Gateway, route: Route) -> None:
    body = route.body("scripted/count-3", stream=False)
    for _ in range(3):
        gateway.store.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert ask(gateway.port, "POST", route.path, key=gateway.key, body=body).status == 200
    wait_for(lambda: "journal.tried_again" in gateway.log, what="another attempt")
    assert "journal.database_unavailable" not in gateway.log


def _refusal(gateway: Gateway, route: Route, body: dict[str, Any]) -> str:
    """Why a new run is refused: that of a key known from the last second because it cannot be recorded."""
    refused = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    return str(refused.json["error"]["code"])


def test_an_end_on_disk_is_not_lost_behind_a_sweep_by_hand(gateway: Gateway, route: Route) -> None:
    clients = [Client(gateway.port) for _ in range(2)]
    clients[0].send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=False))
    finished = open_run(gateway, set())
    clients[1].send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=False))
    lost = open_run(gateway, {finished["id"]})
    gateway.store.cut()
    assert clients[0].read_reply().status == 200
    wait_for(lambda: _mentions(gateway, finished["id"]), what="the end in the spill file")
    gateway.stop()
    gateway.store.restore()
    wait_for(lambda: "Closed 1 run " in manage("sweepruns", env=gateway.env), what="the sweep")
    row, other = gateway.store.run(finished["id"]), gateway.store.run(lost["id"])
    assert row is not None
    assert other is not None
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    assert (other["status"], other["abort_cause"]) == ("aborted", "worker_lost")
    assert gateway.store.notes(finished["id"]) == []


@pytest.mark.needs("netns")
def test_with_the_disk_full_too_an_end_waits_in_memory(template: Store, tmp_path: Path, route: Route) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    # A disk of one page, filled at once; only this process sees it.
    mount = f'mount -t tmpfs -o size=4k tmpfs {spill} && printf "%04096d" 0 > {spill}/full && exec "$0" "$@"'
    store = template.copy(tmp_path)
    gateway = Gateway(store, CONFIG | {"SPILL_DIR": str(spill), "JOURNAL_SECONDS": 1}, tmp_path)
    gateway.command_prefix = ("unshare", "--mount", "sh", "-c", mount)
    gateway.start()
    try:
        client = Client(gateway.port)
        client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=False))
        run = open_run(gateway, set())
        store.cut()
        assert client.read_reply().status == 200
        wait_for(lambda: gateway.log.count("journal.spill_failed") > 2, what="the refusals of the disk")
        assert "No space left on device" in gateway.log
        store.restore()
        row = store.ended(run["id"])
        assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
        assert store.notes(run["id"]) == []
    finally:
        gateway.stop()
        store.restore()
        store.drop()


def _mentions(gateway: Gateway, run_id: str) -> bool:
    """Whether the run's end is in a spill file. Its stored response comes before it."""
    files = (gateway.folder / "spill").glob("*/*.spill")
    lines = [line for file in files for line in file.read_text().splitlines()]
    return any("CloseRun" in line and run_id.replace("-", "") in line for line in lines)
