"""The abort on a WebSocket: whoever leaves stops what runs on it, and those who stay are told who stopped it."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.e2e.abort.test_records import OUTCOMES, assert_aborted, let_the_agent_begin, open_run, run_ids
from tests.e2e.config import CONFIG
from tests.e2e.conftest import ON_ONE_DATABASE, MakeGateway
from tests.e2e.gateway import Gateway, Store, base_env, manage, wait_for
from tests.e2e.socket_wire import SocketClient, SocketLeaving
from tests.e2e.wire import refuses_connections

pytestmark = pytest.mark.e2e

WAYS: tuple[SocketLeaving, ...] = ("close", "fin", "rst", "half_close")
assert {*WAYS} == {way for group in get_args(SocketLeaving) for way in (get_args(group) or (group,))}


def opened(gateway: Gateway) -> SocketClient:
    return SocketClient(gateway.port, key=gateway.key)


# -- the client leaves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", ["close"])
def test_leaving_before_the_first_output_stops_the_agent(gateway: Gateway, leaving: SocketLeaving) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create("scripted/think-60000ms")
    run = open_run(gateway, seen)
    client.leave_socket(leaving)
    row = gateway.store.ended(run["id"])
    assert_aborted(row, "before_output")
    assert row["settled_at"] >= row["abort_requested_at"]
    assert (row["events_sent"], row["bytes_sent"], row["http_status"]) == (0, 0, None)


@pytest.mark.parametrize("leaving", ["close"])
def test_leaving_in_the_middle_of_the_output_stops_the_agent(gateway: Gateway, leaving: SocketLeaving) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create("scripted/slow-3000x20ms")
    client.read_text("bravo")
    run = open_run(gateway, seen)
    client.leave_socket(leaving)
    row = gateway.store.ended(run["id"])
    assert_aborted(row, "streaming")
    assert row["settled_at"] >= row["abort_requested_at"] >= row["first_output_at"] >= row["started_at"]
    assert (row["tokens_sent"] >= 2, row["events_sent"] >= 2, row["bytes_sent"] > 0) == (True, True, True)
    assert row["output_tokens"] > 0


@pytest.mark.parametrize("leaving", ["close"])
def test_leaving_while_queued_never_reaches_the_agent(gateway: Gateway, leaving: SocketLeaving) -> None:
    seen = run_ids(gateway)
    holder, waiting = opened(gateway), opened(gateway)
    holder.create("narrow/think-60000ms")
    held = open_run(gateway, seen)
    waiting.create("narrow/count-1")
    queued = open_run(gateway, seen, status="queued")
    waiting.leave_socket(leaving)
    row = gateway.store.ended(queued["id"])
    holder.leave_socket("close")
    gateway.store.ended(held["id"])
    assert_aborted(row, "queued")
    assert (row["started_at"], row["output_tokens"]) == (None, None)


@pytest.mark.parametrize("leaving", WAYS)
def test_what_waits_behind_it_is_dropped_and_recorded(gateway: Gateway, leaving: SocketLeaving) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create("scripted/think-60000ms")
    run = open_run(gateway, seen)
    for _ in range(3):
        client.create("scripted/count-1")
    client.say("nonsense")
    client.leave_socket(leaving)
    assert_aborted(gateway.store.ended(run["id"]), "before_output")
    rows = wait_for(lambda: _fresh(gateway, seen, 4), what="the rows of those that waited")
    for row in rows:
        if row["id"] != run["id"]:
            assert_aborted(row, "queued")
            assert (row["started_at"], row["requested_model"]) == (None, "scripted/count-1")


def _fresh(gateway: Gateway, seen: set[str], count: int) -> list[dict[str, Any]] | None:
    rows = [row for row in gateway.store.runs() if row["id"] not in seen]
    assert len(rows) <= count
    return rows if len(rows) == count else None


@pytest.mark.parametrize("leaving", WAYS)
def test_leaving_after_the_end_is_no_abort(gateway: Gateway, leaving: SocketLeaving) -> None:
    client = opened(gateway)
    client.create("scripted/count-3")
    response = client.events()[-1]["response"]
    client.leave_socket(leaving)
    row = gateway.store.ended(response["id"].removeprefix("resp_"))
    assert (row["status"], row["abort_cause"], row["abort_outcome"], row["delivered"]) == ("completed", "", "", True)
    assert gateway.store.notes(row["id"]) == []


@pytest.mark.parametrize("script", OUTCOMES)
def test_the_record_says_how_the_agent_really_stopped(gateway: Gateway, script: str) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create(f"scripted/{script}")
    run = open_run(gateway, seen)
    client.event()
    let_the_agent_begin(gateway, run)
    client.leave_socket("fin")
    row = gateway.store.ended(run["id"])
    assert (row["abort_cause"], row["delivered"]) == ("client_disconnect", False)
    assert {name: row[name] for name in OUTCOMES[script]} == OUTCOMES[script]


def test_an_agent_that_is_to_finish_runs_on_and_the_record_says_so(gateway: Gateway) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create("steadfast/slow-100x20ms")
    run = open_run(gateway, seen)
    client.leave_socket("close")
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", False)
    assert row["output_tokens"] == 100
    assert [note["kind"] for note in gateway.store.notes(run["id"])] == ["client_gone"]


def test_lingering_means_to_cancel_here(gateway: Gateway) -> None:
    client = opened(gateway)
    seen = run_ids(gateway)
    client.create("lingering/slow-3000x20ms")
    client.read_text("bravo")
    run = open_run(gateway, seen)
    client.leave_socket("rst")
    row = gateway.store.ended(run["id"])
    assert (row["abort_cause"], row["abort_reason"]) == ("client_disconnect", "")


def test_nothing_is_logged_as_an_error_when_clients_leave(gateway: Gateway) -> None:
    before = len(gateway.log)
    for leaving in WAYS:
        test_leaving_in_the_middle_of_the_output_stops_the_agent(gateway, leaving)
        test_what_waits_behind_it_is_dropped_and_recorded(gateway, leaving)
    assert "ERROR" not in gateway.log[before:]
    assert "Traceback" not in gateway.log[before:]


# -- the client does not read -------------------------------------------------------------------------------


def test_a_reader_that_is_stuck_too_long_is_given_up(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(SLOW_READER_SECONDS=0.5)
    reader = opened(gateway)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    run = open_run(gateway, set())
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "slow_reader", "stopped")
    assert reader.close_code() is None


@ON_ONE_DATABASE
def test_a_slow_reader_makes_the_agent_wait_and_not_the_memory_grow(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    reader = opened(gateway)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    before = _resident_bytes(gateway)
    reader.create("scripted/count-900000")
    run = open_run(gateway, set())
    let_the_agent_begin(gateway, run, 3)
    assert _resident_bytes(gateway) - before < 40 * 1024 * 1024
    reader.leave_socket("rst")
    row = gateway.store.ended(run["id"])
    assert_aborted(row, "streaming")
    assert row["bytes_sent"] < 20 * 1024 * 1024


def _resident_bytes(gateway: Gateway) -> int:
    return int(Path(f"/proc/{gateway.pid}/statm").read_text().split()[1]) * 4096


def test_one_who_closes_and_does_not_read_is_gone_at_once(gateway: Gateway) -> None:
    seen = run_ids(gateway)
    reader = opened(gateway)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    run = open_run(gateway, seen)
    let_the_agent_begin(gateway, run, 1)
    reader.leave_socket("close")
    assert_aborted(gateway.store.ended(run["id"]), "streaming")


@pytest.fixture
def pinging(template: Store, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that soon asks silent clients whether they are there."""
    settings = CONFIG | {"SLOW_READER_SECONDS": 8}
    asks = ("--ping-interval", "1", "--ping-timeout", "6")
    server = Gateway(template.copy(tmp_path), settings, tmp_path, arguments=asks)
    yield server.start()
    server.stop()
    server.store.drop()


@ON_ONE_DATABASE
def test_a_client_that_only_waits_is_kept_and_one_that_does_not_answer_a_ping_is_gone(pinging: Gateway) -> None:
    dead = opened(pinging)
    dead.create("scripted/think-60000ms")
    gone = open_run(pinging, set())
    alive = opened(pinging)
    alive.create("scripted/think-9000ms")
    assert alive.events()[-1]["type"] == "response.completed"
    assert_aborted(pinging.store.ended(gone["id"]), "before_output")


@ON_ONE_DATABASE
def test_one_who_reads_slowly_is_not_taken_for_one_who_does_not_answer_a_ping(pinging: Gateway) -> None:
    reader = opened(pinging)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    run = open_run(pinging, set())
    row = pinging.store.ended(run["id"], within=60)
    assert (row["status"], row["abort_cause"]) == ("aborted", "slow_reader")


@ON_ONE_DATABASE
def test_one_who_does_not_read_that_he_is_stopped_is_hung_up_on(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    reader = opened(gateway)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    run = open_run(gateway, set())
    let_the_agent_begin(gateway, run, 1)
    manage("cancelrun", str(run["id"]), env=gateway.env)
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("aborted", "operator_cancelled", False)
    assert reader.close_code() is None


# -- somebody else stops it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["scripted/slow-3000x20ms", "scripted/think-60000ms"])
def test_an_operator_cancels_and_the_socket_goes_on(gateway: Gateway, model: str) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create(model)
    client.create("scripted/count-1")
    run = open_run(gateway, seen)
    env = base_env() | {"DATABASE_URL": gateway.store.url}
    manage("cancelrun", run["id"], "--reason", "too dear", env=env)
    last = client.events()[-1]
    if model.startswith("scripted/slow"):
        assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "run_cancelled")
    else:
        assert (last["type"], last["status"], last["error"]["code"]) == ("error", 503, "run_cancelled")
    assert client.events()[-1]["type"] == "response.completed"
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "operator_cancelled", "stopped")
    assert row["abort_reason"] == "too dear"


@pytest.mark.parametrize("model", ["hasty/slow-3000x20ms", "hasty/think-60000ms"])
def test_a_run_that_takes_too_long_is_stopped_and_the_socket_goes_on(gateway: Gateway, model: str) -> None:
    seen = run_ids(gateway)
    client = opened(gateway)
    client.create(model)
    last = client.events()[-1]
    error = last["response"]["error"] if last["type"] == "response.failed" else last["error"]
    assert error["code"] == "run_timeout"
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"
    rows = [gateway.store.ended(id_) for id_ in sorted(run_ids(gateway) - seen)]
    assert [(row["status"], row["abort_cause"]) for row in rows] == [("aborted", "timeout"), ("completed", "")]


# -- the server ends ----------------------------------------------------------------------------------------


def test_the_end_of_the_server_lets_a_run_finish_and_refuses_the_next(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(DRAIN_SECONDS=600)
    client, idle = opened(gateway), opened(gateway)
    client.create("scripted/slow-60x50ms")
    client.read_text("bravo")
    run = open_run(gateway, set())
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(gateway.port), what="the closed listener")
    idle.create("scripted/count-1")
    refused = idle.event()
    assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 503, "shutting_down")
    events = client.events()
    assert len(events[-1]["response"]["output"][0]["content"][0]["text"].split()) == 60
    assert (client.close_code(), idle.close_code()) == (1001, 1001)
    assert gateway.process.wait(60) == 0
    row = gateway.store.run(run["id"])
    assert row is not None
    assert (row["status"], row["delivered"], row["abort_cause"]) == ("completed", True, "")
    assert sorted(row["status"] for row in gateway.store.runs()) == ["completed", "rejected"]
    assert "Traceback" not in gateway.log


def test_the_end_of_the_server_is_told_to_a_client_that_stays(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0.1)
    client = opened(gateway)
    client.create("scripted/slow-3000x20ms")
    client.read_text("bravo")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    last = client.events()[-1]
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "shutting_down")
    assert client.close_code() == 1001
    assert gateway.process.wait(60) == 0
    [row] = gateway.store.runs()
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "stopped")
    assert "Traceback" not in gateway.log


def test_an_open_socket_without_a_run_does_not_hold_up_the_servers_end(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    idle = opened(gateway)
    assert gateway.terminate(within=15) == 0
    assert idle.close_code() == 1001


def test_a_client_that_does_not_take_the_close_does_not_hold_up_the_servers_end(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(DRAIN_SECONDS=0.1)
    reader = opened(gateway)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.create("scripted/count-900000")
    let_the_agent_begin(gateway, open_run(gateway, set()), 1)
    assert gateway.terminate(within=30) == 0
    [row] = gateway.store.runs()
    assert (row["abort_cause"], row["delivered"]) == ("shutdown", False)
