"""The promise under uvicorn and hypercorn, whose lifespan events and signals end the runs."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.e2e.abort.test_records import assert_aborted, let_the_agent_begin, open_run, run_ids
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Server, Store, Templates, manage
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

MakeServer = Callable[..., Gateway]

OTHERS: list[Server] = [server for server in get_args(Server) if server != "daphne"]
ENDED_BY_SIGTERM = {"uvicorn": -signal.SIGTERM, "hypercorn": 0}
"""uvicorn hands the signal on to itself when it is done."""


@pytest.fixture(scope="module", params=OTHERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the others in turn."""
    found: Server = request.param
    return found


@pytest.fixture(scope="module")
def store(templates: Templates) -> Store:
    """SQLite only: the server makes no difference to the database."""
    return templates("sqlite")


@pytest.fixture(scope="module")
def gateway(server: Server, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One that tests share."""
    folder = tmp_path_factory.mktemp(server)
    shared = Gateway(store.copy(folder), CONFIG, folder, server=server).start()
    yield shared
    shared.stop()


@pytest.fixture
def make_server(server: Server, store: Store, tmp_path: Path) -> Iterator[MakeServer]:
    """Starts one of a test's own; settings are added to the shared ones."""
    made: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        made.append(Gateway(store.copy(tmp_path), CONFIG | settings, tmp_path, server=server))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


def test_answers_come_whole(gateway: Gateway, route: Route, stream: bool) -> None:
    client = Client(gateway.port)
    for _ in range(2):
        client.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-3", stream=stream))
        reply = client.read_reply()
        text = route.streamed_text(reply.events) if stream else route.text(reply.json)
        assert (reply.status, text) == (200, "alpha bravo charlie")
        row = gateway.store.ended(reply.headers["x-request-id"])
        assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")


@pytest.mark.parametrize("leaving", ["fin", "rst"])
def test_leaving_before_the_first_output_stops_the_agent(
    gateway: Gateway, route: Route, stream: bool, leaving: Any
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=stream))
    run = open_run(gateway, seen)
    client.leave(leaving)
    assert_aborted(gateway.store.ended(run["id"]), "before_output")


@pytest.mark.parametrize("leaving", ["fin", "rst"])
def test_leaving_in_mid_stream_stops_the_agent(gateway: Gateway, route: Route, leaving: Any) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    client.read_until(b"bravo")
    run = open_run(gateway, seen)
    client.leave(leaving)
    assert_aborted(gateway.store.ended(run["id"]), "streaming")


def test_one_who_does_not_read_that_he_is_stopped_does_not_wait_for_ever(gateway: Gateway, route: Route) -> None:
    seen = run_ids(gateway)
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-900000", stream=True))
    run = open_run(gateway, seen)
    let_the_agent_begin(gateway, run, 1)
    manage("cancelrun", str(run["id"]), env=gateway.env)
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("aborted", "operator_cancelled", False)
    with suppress(EOFError, ConnectionError):  # hypercorn has taken all of it, however slowly it is read.
        reader.read_until(b"[DONE]")


def test_the_applications_behind_the_endpoints_are_served(gateway: Gateway) -> None:
    assert ask(gateway.port, "GET", "/readyz", key=None).json["status"] == "ready"


def test_at_the_servers_end_runs_may_finish(make_server: MakeServer, server: Server, route: Route) -> None:
    gateway = make_server(DRAIN_SECONDS=600)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-20x50ms", stream=True))
    client.read_until(b"bravo")
    assert gateway.terminate() == ENDED_BY_SIGTERM[server]
    client.read_until(b"[DONE]")
    [row] = gateway.store.runs()
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", True)


def test_runs_that_take_longer_are_stopped_told_and_recorded(
    make_server: MakeServer, server: Server, route: Route
) -> None:
    gateway = make_server(DRAIN_SECONDS=0.1)
    streamed, plain = Client(gateway.port), Client(gateway.port)
    streamed.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    streamed.read_until(b"bravo")
    seen = run_ids(gateway)
    plain.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=False))
    open_run(gateway, seen)
    assert gateway.terminate(within=25) == ENDED_BY_SIGTERM[server]
    assert b"shutting_down" in streamed.read_until(b"[DONE]")
    reply = plain.read_reply()
    assert (reply.status, reply.json["error"]["code"]) == (503, "shutting_down")
    rows = [(row["status"], row["abort_cause"], row["abort_outcome"]) for row in gateway.store.runs()]
    assert rows == [("aborted", "shutdown", "stopped")] * 2
