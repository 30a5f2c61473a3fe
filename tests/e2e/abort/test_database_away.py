"""The database goes away while runs run: they go on, and no end is lost, and none is written twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.abort.test_matrix import open_run
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = [pytest.mark.e2e, pytest.mark.needs("postgres")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """PostgreSQL only: of SQLite there is nothing to take away but the file."""
    store = Store("postgres", tmp_path_factory.mktemp("template"))
    store.create()
    yield store
    store.drop()


@pytest.fixture
def gateway(template: Store, tmp_path: Path) -> Iterator[Gateway]:
    store = template.copy(tmp_path)
    settings = CONFIG | {"SPILL_DIR": str(tmp_path / "spill"), "LEASE_SECONDS": 1.5}
    server = Gateway(store, settings, tmp_path).start()
    yield server
    server.stop()
    store.restore()
    store.drop()


def test_running_runs_go_on_and_their_ends_are_written_when_it_is_back(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    finishing, leaving = Client(gateway.port), Client(gateway.port)
    finishing.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-15x50ms", stream=stream))
    finished = open_run(gateway, set())
    leaving.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    left = open_run(gateway, {finished["id"]})
    leaving.read_until(b"bravo")
    gateway.store.cut()
    reply = finishing.read_reply()
    text = route.streamed_text(reply.events) if stream else route.text(reply.json)
    assert len(text.split()) == 15
    leaving.leave("fin")
    body = route.body("scripted/echo", stream=stream)
    refused = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert (refused.status, refused.json["error"]["code"]) == (503, "database_unavailable")
    assert refused.headers["retry-after"] == "1"
    wait_for(lambda: any((gateway.folder / "spill").glob("*/*.spill")), what="the spill file")
    assert ask(gateway.port, "GET", "/readyz", key=None).status == 503
    gateway.store.restore()
    row = gateway.store.ended(finished["id"])
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    row = gateway.store.ended(left["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    assert [gateway.store.notes(run["id"]) for run in (finished, left)] == [[], []]
    wait_for(lambda: not list((gateway.folder / "spill").glob("*/*.spill")), what="the empty spill folder")
    assert ask(gateway.port, "POST", route.path, key=gateway.key, body=body).status == 200


def test_an_end_on_disk_survives_the_death_of_its_process(gateway: Gateway, route: Route, tmp_path: Path) -> None:
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-10x50ms", stream=False))
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


def _mentions(gateway: Gateway, run_id: str) -> bool:
    files = (gateway.folder / "spill").glob("*/*.spill")
    return any(run_id.replace("-", "") in file.read_text() for file in files)
