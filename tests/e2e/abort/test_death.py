"""However a process dies, its runs get an end: exactly one."""

import signal

import pytest

from tests.e2e.abort.test_records import open_run
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e


def test_the_runs_of_a_killed_process_are_closed_by_another(make_gateway: MakeGateway, route: Route) -> None:
    doomed, witness = make_gateway(LEASE_SECONDS=1.5), make_gateway(LEASE_SECONDS=1.5)
    client = Client(doomed.port)
    client.send("POST", route.path, key=doomed.key, body=route.body("scripted/think-60000ms", stream=True))
    run = open_run(doomed, set())
    doomed.stop()
    row = witness.store.ended(run["id"], within=20)
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "worker_lost", "unknown")
    wait_for(lambda: "lease.swept" in witness.log, what="the log line of the sweep")


def test_the_runs_of_a_killed_process_are_closed_by_the_next_start(make_gateway: MakeGateway, route: Route) -> None:
    doomed = make_gateway(LEASE_SECONDS=1.5)
    Client(doomed.port).send("POST", route.path, key=doomed.key, body=route.body("narrow/think-60000ms", stream=True))
    running = open_run(doomed, set())
    Client(doomed.port).send("POST", route.path, key=doomed.key, body=route.body("narrow/echo", stream=True))
    queued = open_run(doomed, set(), status="queued")
    doomed.stop()
    successor = make_gateway(LEASE_SECONDS=1.5)
    for run in (running, queued):
        row = successor.store.ended(run["id"], within=20)
        assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "worker_lost", "unknown")


def test_the_runs_of_a_killed_process_are_closed_by_hand_where_no_other_lives(
    make_gateway: MakeGateway, route: Route
) -> None:
    doomed = make_gateway(LEASE_SECONDS=1.5)
    Client(doomed.port).send("POST", route.path, key=doomed.key, body=route.body("narrow/think-60000ms", stream=True))
    running = open_run(doomed, set())
    Client(doomed.port).send("POST", route.path, key=doomed.key, body=route.body("narrow/echo", stream=True))
    queued = open_run(doomed, set(), status="queued")
    doomed.stop()
    said = wait_for(lambda: _swept(doomed), within=20, what="a sweep that closes something")
    assert said.startswith("Closed 2 runs of lost workers as aborted / worker_lost / unknown.")
    rows = [doomed.store.run(run["id"]) for run in (running, queued)]
    for row in rows:
        assert row is not None
        assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "worker_lost", "unknown")
    assert _swept(doomed) == ""
    assert [doomed.store.run(run["id"]) for run in (running, queued)] == rows


def _swept(gateway: Gateway) -> str:
    said = manage("sweepruns", env=gateway.env)
    return "" if said.startswith("Nothing to close") else said


def test_a_process_that_was_only_paused_stops_its_agents_and_adds_no_second_end(
    make_gateway: MakeGateway, route: Route
) -> None:
    paused, witness = make_gateway(LEASE_SECONDS=1.5), make_gateway(LEASE_SECONDS=1.5)
    client = Client(paused.port)
    client.send("POST", route.path, key=paused.key, body=route.body("scripted/think-60000ms", stream=True))
    run = open_run(paused, set())
    wait_for(lambda: _paused_at_rest(paused), what="a moment without a lock")
    assert paused.process is not None
    closed = witness.store.ended(run["id"], within=20)
    paused.process.send_signal(signal.SIGCONT)
    assert client.read_reply().json["error"]["code"] == "shutting_down"
    [note] = wait_for(lambda: witness.store.notes(run["id"]), within=20, what="the note of the second end")
    assert (note["kind"], note["text"]) == ("second_end", "would have been aborted")
    assert witness.store.run(run["id"]) == closed
    # It goes on under a new name, and is watched again.
    body = route.body("scripted/count-3", stream=False)
    again = ask(paused.port, "POST", route.path, key=paused.key, body=body)
    row = paused.store.ended(again.headers["x-request-id"])
    assert row["status"] == "completed"
    assert row["worker"] != run["worker"]


def _paused_at_rest(gateway: Gateway) -> bool:
    """Pause it, but not while it holds SQLite's only lock, and so everybody up."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    if gateway.store.is_free():
        return True
    gateway.process.send_signal(signal.SIGCONT)
    return False


def test_the_living_are_left_alone(make_gateway: MakeGateway, route: Route) -> None:
    first, second = make_gateway(LEASE_SECONDS=2.5), make_gateway(LEASE_SECONDS=2.5)
    clients = [Client(gateway.port) for gateway in (first, second)]
    for client in clients:
        client.send("POST", route.path, key=first.key, body=route.body("scripted/slow-60x100ms", stream=False))
    for client in clients:
        reply = client.read_reply()
        assert len(route.text(reply.json).split()) == 60
        assert first.store.ended(reply.headers["x-request-id"])["status"] == "completed"
