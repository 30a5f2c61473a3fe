"""The WebSocket under uvicorn and hypercorn."""

import signal
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any

import pytest

from tests.e2e.abort.test_records import assert_aborted, open_run, run_ids
from tests.e2e.gateway import Gateway, Server
from tests.e2e.socket_wire import SocketClient, SocketLeaving
from tests.e2e.test_other_servers import ENDED_BY_SIGTERM, MakeServer, gateway, make_server, server, store

CLOSED_WITH = {"uvicorn": 1012, "hypercorn": 1001}

pytestmark = pytest.mark.e2e
__all__ = ["gateway", "make_server", "server", "store"]  # fixtures


def opened(gateway: Gateway) -> SocketClient:
    return SocketClient(gateway.port, key=gateway.key)


def test_answers_come_whole_and_in_order(gateway: Gateway) -> None:
    client = opened(gateway)
    for words in (3, 2):
        client.create(f"scripted/slow-{words}x20ms")
    client.say("nonsense")
    for words in (3, 2):
        events = client.events()
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert len(events[-1]["response"]["output"][0]["content"][0]["text"].split()) == words
        row = gateway.store.ended(events[-1]["response"]["id"].removeprefix("resp_"))
        assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    assert client.event()["error"]["code"] == "invalid_json"


def test_a_handshake_is_refused(gateway: Gateway) -> None:
    client = SocketClient(gateway.port, key="nonsense")
    assert client.response.status_code == 401
    assert b"invalid_api_key" in bytes(client.response.body)


@pytest.mark.parametrize("leaving", ["close", "fin", "rst"])
@pytest.mark.parametrize("model", ["think-60000ms", "slow-3000x20ms"])
def test_leaving_stops_the_agent(gateway: Gateway, model: str, leaving: SocketLeaving) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create(f"scripted/{model}")
    run = open_run(gateway, seen)
    if model.startswith("slow"):
        client.read_text("alpha")
    client.leave_socket(leaving)
    assert_aborted(gateway.store.ended(run["id"]), "before_output" if model.startswith("think") else "streaming")


def test_a_message_that_is_too_large_is_not_taken(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/echo", input="x" * 10 * 1024 * 1024)
    assert client.event()["error"]["code"] == "request_too_large"


def test_a_reader_that_is_stuck_too_long_is_given_up(make_server: MakeServer) -> None:
    gateway = make_server(SLOW_READER_SECONDS=0.5)
    reader = opened(gateway)
    reader.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    run = open_run(gateway, set())
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "slow_reader", "stopped")
    assert reader.close_code() in (None, 1011)


def test_at_the_servers_end_the_run_is_stopped_as_by_a_shutdown(make_server: MakeServer, server: Server) -> None:
    gateway = make_server(DRAIN_SECONDS=0.1)
    client, idle = opened(gateway), opened(gateway)
    client.create("scripted/slow-30000x1ms")  # one is nearly always being written
    client.read_text("bravo")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    for socket in (client, idle):
        assert socket.close_code() == CLOSED_WITH[server]
        socket.close()
    assert gateway.process.wait(25) == ENDED_BY_SIGTERM[server]
    rows: list[Any] = [(row["status"], row["abort_cause"], row["abort_outcome"]) for row in gateway.store.runs()]
    assert rows == [("aborted", "shutdown", "stopped")]


def test_hypercorn_lets_a_run_finish_too(make_server: MakeServer, server: Server) -> None:
    if server != "hypercorn":
        pytest.skip("uvicorn closes every WebSocket at once")
    gateway = make_server(DRAIN_SECONDS=600)
    client = opened(gateway)
    client.create("scripted/slow-60x50ms")
    client.read_text("bravo")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    assert client.events()[-1]["type"] == "response.completed"
    assert client.close_code() == 1001
    client.close()
    assert gateway.process.wait(60) == 0
    [row] = gateway.store.runs()
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", True)
