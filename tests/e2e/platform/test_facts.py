"""One test a fact about the platform, by its number; each fails where its remedy is taken away."""

import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.abort.test_records import assert_aborted, open_run, run_ids
from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024


@pytest.mark.compliance("Chat Completions", "disconnect")
@pytest.mark.compliance("Open Responses", "disconnect")
def test_fact_1_a_disconnect_is_seen_while_the_agent_works(gateway: Gateway, route: Route, stream: bool) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=stream))
    run = open_run(gateway, seen)
    client.leave("fin")
    assert_aborted(gateway.store.ended(run["id"]), "before_output")


def test_fact_2_the_disconnect_after_a_finished_response_is_no_abort(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    client = Client(gateway.port)
    replies = []
    for _ in range(20):
        client.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-5", stream=stream))
        replies.append(client.read_reply())
    client.close()
    for reply in replies:
        row = gateway.store.ended(reply.headers["x-request-id"])
        assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("completed", "", "")
        assert row["delivered"] is True
        assert row["http_status"] == 200
        assert gateway.store.notes(row["id"]) == []


@ON_ONE_DATABASE
def test_fact_3_the_end_of_the_server_ends_the_tasks_that_were_stored(
    make_gateway: MakeGateway, route: Route, stream: bool
) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=stream))
    run = open_run(gateway, set())
    if stream:
        client.read_until(b"bravo")
    assert gateway.terminate() == 0
    row = gateway.store.run(run["id"])
    assert row is not None
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "stopped")


def test_fact_4_a_half_received_request_does_not_spoil_the_shutdown(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0)
    half = Client(gateway.port)
    half.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=True))
    run = open_run(gateway, set())
    assert gateway.terminate() == 0
    row = gateway.store.run(run["id"])
    assert row is not None
    assert (row["status"], row["abort_cause"]) == ("aborted", "shutdown")
    reply = client.read_reply()
    assert (reply.status, reply.json["error"]["code"]) == (503, "shutting_down")


def test_fact_5_a_reader_that_never_reads_costs_no_memory(gateway: Gateway, route: Route) -> None:
    for _ in range(20):  # What a process loads and keeps with its first requests is not the reader's.
        ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body("scripted/count-2000", stream=True))
    seen = run_ids(gateway)
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    before = resident_bytes(gateway.pid)
    # About 200 MB, if nobody held it back.
    reader.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-900000", stream=True))
    reader.read_until(b"charlie")
    run = open_run(gateway, seen)
    for _ in range(10):
        # The server answers others while it waits for the reader, and grows no further.
        assert ask(gateway.port, "GET", "/healthz", key=None).status == 200
    assert resident_bytes(gateway.pid) - before < 32 * MIB
    reader.leave("rst")
    row = gateway.store.ended(run["id"])
    assert_aborted(row, "streaming")
    assert row["bytes_sent"] < 16 * MIB


def test_fact_5_a_slow_reader_gets_everything(gateway: Gateway, route: Route) -> None:
    reader = Client(gateway.port, timeout=60)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-20000", stream=True))
    reply = reader.read_reply()
    assert len(route.streamed_text(reply.events).split()) == 20000
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["delivered"], row["tokens_sent"]) == ("completed", True, 20000)
    assert row["bytes_sent"] == len(reply.body)


def test_fact_5_an_answer_that_the_client_did_not_take_is_not_delivered(gateway: Gateway, route: Route) -> None:
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    body = route.body("scripted/echo", stream=False, prompt="x" * 9 * MIB)
    reader.send("POST", route.path, key=gateway.key, body=body)
    run_id = reader.read_head().headers["x-request-id"]
    reader.leave("rst")
    row = gateway.store.ended(run_id)
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", False, "client_disconnect")
    assert (row["abort_phase"], row["abort_outcome"]) == ("finishing", "finished_first")


@pytest.mark.compliance("HTTP", "Content-Length")
def test_fact_6_a_body_over_the_limit_is_refused(gateway: Gateway, route: Route) -> None:
    body = route.body("scripted/echo", stream=False, prompt="x" * 11 * MIB)
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("size", [100, 70_000, 300_000])
@pytest.mark.parametrize("leaving", ["fin", "rst"])
def test_fact_7_pipelined_bytes_do_not_hide_the_disconnect(
    gateway: Gateway, route: Route, stream: bool, leaving: str, size: int
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=stream))
    run = open_run(gateway, seen)
    client.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Padding: " + b"x" * size)
    client.leave("fin" if leaving == "fin" else "rst")
    assert_aborted(gateway.store.ended(run["id"]), "before_output")


def test_fact_7_small_pipelined_requests_are_both_answered(gateway: Gateway, route: Route) -> None:
    client = Client(gateway.port)
    for words in (2, 3):
        client.send("POST", route.path, key=gateway.key, body=route.body(f"scripted/count-{words}", stream=False))
    assert [len(route.text(client.read_reply().json).split()) for _ in range(2)] == [2, 3]


def test_fact_12_a_burst_of_connections_finds_room_in_the_backlog(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    clients: list[Client] = []
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        # Nobody accepts now: with Twisted's backlog of 50 the rest would wait for a second SYN.
        clients.extend(Client(gateway.port, timeout=0.9) for _ in range(300))
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    for client in clients:
        client.close()
    assert len(clients) == 300


@pytest.mark.compliance("HTTP", "Host")
def test_fact_16_the_host_is_checked_although_no_middleware_runs(gateway: Gateway, route: Route) -> None:
    body = route.body("scripted/echo", stream=False)
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body, headers={"Host": "evil.example"})
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_host")


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
