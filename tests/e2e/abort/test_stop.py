"""Everybody else who can stop a run, and what the client that is still there is told."""

import signal
import socket
import time
from statistics import median

import pytest

from tests.e2e.abort.test_records import open_run, run_ids
from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.gateway import Gateway, base_env, manage, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask, refuses_connections

pytestmark = pytest.mark.e2e


def test_a_run_that_takes_too_long_is_stopped_and_the_client_is_told(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("hasty/slow-3000x20ms", stream=stream))
    reply = client.read_reply()
    if stream:
        assert reply.status == 200
        error = route.stream_error(reply.events)
        assert reply.events[-1] == "[DONE]"
    else:
        assert (reply.status, reply.headers["x-should-retry"]) == (504, "false")
        error = reply.json["error"]
    assert error is not None
    assert error["code"] == "run_timeout"
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "timeout", "stopped")


def test_a_timeout_before_the_first_byte_of_a_stream_is_a_status(gateway: Gateway, route: Route) -> None:
    body = route.body("hasty/think-60000ms", stream=True)
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert (reply.status, reply.json["error"]["code"]) == (504, "run_timeout")


@pytest.mark.compliance("Chat Completions", "x-should-retry")
@pytest.mark.compliance("Open Responses", "response.failed")
def test_an_operator_cancels_from_another_process(gateway: Gateway, route: Route, stream: bool) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=stream))
    run = open_run(gateway, seen)
    env = base_env() | {"DATABASE_URL": gateway.store.url}
    manage("cancelrun", f"chatcmpl-{run['id'].replace('-', '')}", "--reason", "too dear", env=env)
    reply = client.read_reply()
    if stream:
        error = route.stream_error(reply.events)
    else:
        assert (reply.status, reply.headers["x-should-retry"]) == (503, "false")
        error = reply.json["error"]
    assert error is not None
    assert error["code"] == "run_cancelled"
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "operator_cancelled", "stopped")
    assert (row["abort_reason"], row["abort_requested_by"].split()[0]) == ("too dear", "command")


def cancel_latencies(gateway: Gateway, route: Route, trials: int) -> list[float]:
    """Milliseconds from the wish in the database to the agent's end, by the row's own times."""
    env = base_env() | {"DATABASE_URL": gateway.store.url}
    key = manage("createkey", "operator", "--operate", env=env).splitlines()[-1]
    found = []
    for _ in range(trials):
        client = Client(gateway.port)
        client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
        run_id = client.read_head().headers["x-request-id"]
        reply = ask(gateway.port, "POST", f"/api/runs/{run_id}/cancel", key=key, body={"reason": "enough"})
        assert (reply.status, reply.json["result"]) == (202, "asked")
        row = gateway.store.ended(run_id)
        assert (row["abort_cause"], row["abort_requested_by"]) == ("operator_cancelled", "API key operator")
        found.append((row["settled_at"] - row["abort_requested_at"]).total_seconds() * 1000)
    return sorted(found)


def assert_hinted(gateway: Gateway, route: Route) -> None:
    """Without the hint the owner looks each second: the median would be half of that. A busy machine may be so once."""
    series = []
    for _ in range(3):
        series.append(cancel_latencies(gateway, route, 15))
        if median(series[-1]) < 250:
            return
    raise AssertionError(series)


def test_a_hint_makes_a_cancel_fast(gateway: Gateway, route: Route) -> None:
    if gateway.store.kind == "postgres":
        assert_hinted(gateway, route)
    else:
        assert cancel_latencies(gateway, route, 7)[-1] < 10_000


@pytest.mark.needs("redis")
def test_the_channel_layer_gives_hints_where_the_database_cannot(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway({"REDIS_URL": "redis://127.0.0.1:6379/5"})
    assert_hinted(gateway, route)


def test_a_channel_layer_that_is_away_costs_only_the_hint(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway({"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert cancel_latencies(gateway, route, 2)[-1] < 10_000


def test_a_queued_run_can_be_cancelled(gateway: Gateway, route: Route) -> None:
    seen = run_ids(gateway)
    holder, waiting = Client(gateway.port), Client(gateway.port)
    holder.send("POST", route.path, key=gateway.key, body=route.body("narrow/think-60000ms", stream=True))
    held = open_run(gateway, seen)
    waiting.send("POST", route.path, key=gateway.key, body=route.body("narrow/echo", stream=True))
    queued = open_run(gateway, seen, status="queued")
    manage("cancelrun", queued["id"], env=base_env() | {"DATABASE_URL": gateway.store.url})
    assert waiting.read_reply().json["error"]["code"] == "run_cancelled"
    holder.leave("fin")
    row = gateway.store.ended(queued["id"])
    assert (row["status"], row["abort_cause"], row["abort_phase"]) == ("aborted", "operator_cancelled", "queued")
    gateway.store.ended(held["id"])


def test_the_end_of_the_server_lets_runs_finish_within_the_drain_time(
    make_gateway: MakeGateway, route: Route, stream: bool
) -> None:
    gateway = make_gateway(DRAIN_SECONDS=600)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=stream))
    run = open_run(gateway, set())
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    reply = client.read_reply()
    text = route.streamed_text(reply.events) if stream else route.text(reply.json)
    assert len(text.split()) == 60
    assert gateway.process.wait(60) == 0
    row = gateway.store.run(run["id"])
    assert row is not None
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")


def test_while_the_server_drains_new_runs_are_refused(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(DRAIN_SECONDS=600)
    running, kept = Client(gateway.port), Client(gateway.port)
    kept.send("GET", "/healthz", key=None)
    kept.read_reply()
    running.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-60x50ms", stream=True))
    running.read_until(b"bravo")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(gateway.port), what="the closed listener")
    kept.send("POST", route.path, key=gateway.key, body=route.body("scripted/echo", stream=False))
    reply = kept.read_reply()
    assert (reply.status, reply.json["error"]["code"]) == (503, "shutting_down")
    assert reply.headers["x-should-retry"] == "true"
    running.leave("fin")
    assert gateway.process.wait(60) == 0
    assert sorted(row["status"] for row in gateway.store.runs()) == ["aborted", "rejected"]


@ON_ONE_DATABASE
def test_the_end_of_the_server_is_told_to_clients_that_stay(
    make_gateway: MakeGateway, route: Route, stream: bool
) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0.1)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=stream))
    run = open_run(gateway, set())
    if stream:
        client.read_until(b"bravo")
        client.buffer = b""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    if stream:
        assert b"shutting_down" in client.read_until(b"[DONE]")
    else:
        reply = client.read_reply()
        assert (reply.status, reply.json["error"]["code"]) == (503, "shutting_down")
        assert reply.headers["x-should-retry"] == "true"
    assert gateway.process.wait(60) == 0
    row = gateway.store.run(run["id"])
    assert row is not None
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "stopped")
    assert "Traceback" not in gateway.log


@ON_ONE_DATABASE
def test_an_agent_that_does_not_stop_does_not_hold_up_the_servers_end(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/stubborn-60000ms", stream=True))
    client.read_until(b"never")
    assert gateway.terminate(within=30) == 0
    [row] = gateway.store.runs()
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "unresponsive")


@ON_ONE_DATABASE
def test_a_second_signal_hurries(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(DRAIN_SECONDS=600)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    client.read_until(b"bravo")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(gateway.port), what="the closed listener")
    assert gateway.process.poll() is None
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) == 0
    [row] = gateway.store.runs()
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "stopped")


@ON_ONE_DATABASE
def test_who_gives_notice_listens_on_and_a_second_signal_hurries_that_too(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(DRAIN_NOTICE=600)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: ask(gateway.port, "GET", "/readyz", key=None).status == 503, what="the notice")
    assert gateway.process.poll() is None
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) == 0


@ON_ONE_DATABASE
def test_a_reader_that_is_stuck_too_long_is_given_up(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(SLOW_READER_SECONDS=0.5)
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.send("POST", route.path, key=gateway.key, body=route.body("scripted/count-900000", stream=True))
    run = open_run(gateway, set())
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "slow_reader", "stopped")
    with pytest.raises((EOFError, ConnectionError)):
        reader.read_until(b"[DONE]")


def reader_of_a_large_answer(gateway: Gateway, route: Route) -> Client:
    """One who asks for more than the kernel takes, and does not read yet."""
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    body = route.body("scripted/echo", stream=False, prompt="x" * 9 * 1024 * 1024)
    reader.send("POST", route.path, key=gateway.key, body=body)
    return reader


@ON_ONE_DATABASE
def test_one_that_does_not_take_its_whole_answer_is_given_up_too(make_gateway: MakeGateway, route: Route) -> None:
    """The server tells of its own end of the exchange before the last byte has left (platform fact 2)."""
    gateway = make_gateway(SLOW_READER_SECONDS=0.5)
    reader = reader_of_a_large_answer(gateway, route)
    run = open_run(gateway, set())
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_outcome"]) == ("completed", "finished_first")
    assert (row["abort_cause"], row["delivered"]) == ("slow_reader", False)
    with pytest.raises((EOFError, ConnectionError)):
        reader.read_reply()


@ON_ONE_DATABASE
def test_one_that_reads_slowly_and_steadily_gets_all_of_it(make_gateway: MakeGateway, route: Route) -> None:
    gateway = make_gateway(SLOW_READER_SECONDS=2)
    reader = reader_of_a_large_answer(gateway, route)
    reply = reader.read_head()
    left = int(reply.headers["content-length"]) - len(reader.buffer)
    begun = time.monotonic()
    while left:
        left -= len(reader.socket.recv(min(left, 128 * 1024)))
        time.sleep(0.03)
    assert time.monotonic() - begun > 2
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", True)


@ON_ONE_DATABASE
def test_a_reader_that_does_not_take_the_last_word_does_not_keep_its_run_open(
    make_gateway: MakeGateway, route: Route, stream: bool
) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0.2)
    reader = Client(gateway.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    model = "scripted/count-900000" if stream else "scripted/echo"
    body = route.body(model, stream=stream, prompt="hello" if stream else "x" * 9 * 1024 * 1024)
    reader.send("POST", route.path, key=gateway.key, body=body)
    reader.read_head()
    assert gateway.terminate(within=30) == 0
    [row] = gateway.store.runs()
    assert row["finished_at"] is not None
    assert (row["abort_cause"], row["delivered"]) == ("shutdown", False)
