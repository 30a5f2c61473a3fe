"""What a run's record holds after its client has left, in each phase. Every way of leaving: `test_cases`."""

from typing import Any

import pytest

from gateway_project import clock
from tests.e2e.gateway import Gateway, Row, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Leaving

pytestmark = pytest.mark.e2e

WAYS: tuple[Leaving, ...] = ("fin", "rst", "half_close")


def open_run(gateway: Gateway, seen: set[str], *, status: str = "running") -> Row:
    """The run that has just begun (its row is committed before its agent is called)."""

    def find() -> Row | None:
        rows = gateway.store.query("SELECT * FROM gateway_run WHERE status = ?", status)
        fresh = [row for row in rows if row["id"] not in seen]
        return fresh[-1] if fresh else None

    run = wait_for(find, what=f"a {status} run")
    if run["started_at"]:
        let_the_agent_begin(gateway, run, 0.1)
    return run


def run_ids(gateway: Gateway) -> set[str]:
    return {row["id"] for row in gateway.store.query("SELECT id FROM gateway_run")}


def assert_aborted(row: Row, phase: str, outcome: str = "stopped") -> None:
    assert (row["status"], row["abort_cause"], row["abort_phase"], row["abort_outcome"]) == (
        "aborted",
        "client_disconnect",
        phase,
        outcome,
    )
    assert row["delivered"] is False
    assert row["finished_at"] >= row["abort_requested_at"] >= row["received_at"]


def test_leaving_before_the_first_output_stops_the_agent(
    gateway: Gateway, route: Route, stream: bool, leaving: Leaving = "fin"
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/think-60000ms", stream=stream))
    run = open_run(gateway, seen)
    client.leave(leaving)
    row = gateway.store.ended(run["id"])
    client.close()
    assert_aborted(row, "before_output")
    assert row["settled_at"] >= row["abort_requested_at"]
    assert (row["events_sent"], row["bytes_sent"], row["http_status"]) == (0, 0, None)
    assert row["first_output_at"] is None


def test_leaving_in_the_middle_of_the_output_stops_the_agent(
    gateway: Gateway, route: Route, stream: bool, leaving: Leaving = "fin"
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=stream))
    if stream:
        client.read_until(b"bravo")
    run = open_run(gateway, seen)
    if not stream:
        let_the_agent_begin(gateway, run)
    client.leave(leaving)
    row = gateway.store.ended(run["id"])
    client.close()
    assert_aborted(row, "streaming")
    assert row["settled_at"] >= row["abort_requested_at"] >= row["first_output_at"] >= row["started_at"]
    assert (row["tokens_sent"] >= 2, row["events_sent"] >= 2) == (stream, stream)
    assert row["usage_source"] == "estimated"
    assert row["output_tokens"] > 0
    assert (row["bytes_sent"] > 0) is stream


def test_leaving_while_queued_never_reaches_the_agent(
    gateway: Gateway, route: Route, stream: bool, leaving: Leaving = "fin"
) -> None:
    seen = run_ids(gateway)
    holder = Client(gateway.port)
    holder.send("POST", route.path, key=gateway.key, body=route.body("narrow/think-60000ms", stream=True))
    held = open_run(gateway, seen)
    waiting = Client(gateway.port)
    waiting.send("POST", route.path, key=gateway.key, body=route.body("narrow/count-1", stream=stream))
    queued = open_run(gateway, seen, status="queued")
    waiting.leave(leaving)
    row = gateway.store.ended(queued["id"])
    waiting.close()
    holder.close()
    gateway.store.ended(held["id"])
    assert_aborted(row, "queued")
    assert row["started_at"] is None
    assert row["output_tokens"] is None


OUTCOMES: dict[str, dict[str, Any]] = {
    "stubborn-1500ms": {"status": "aborted", "abort_outcome": "unresponsive", "settled_at": None},
    "finish-on-cancel": {"status": "completed", "abort_outcome": "finished_first"},
    "raise-on-cancel": {"status": "aborted", "abort_outcome": "errored"},
}


@pytest.mark.parametrize("script", OUTCOMES)
def test_the_record_says_how_the_agent_really_stopped(
    gateway: Gateway, route: Route, stream: bool, script: str
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body(f"scripted/{script}", stream=stream))
    run = open_run(gateway, seen)
    if stream:
        client.read_head()
    let_the_agent_begin(gateway, run)
    client.leave("fin")
    row = gateway.store.ended(run["id"])
    assert row["abort_cause"] == "client_disconnect"
    assert {name: row[name] for name in OUTCOMES[script]} == OUTCOMES[script]
    assert row["delivered"] is False
    if script.startswith("stubborn"):
        late = wait_for(lambda: gateway.store.notes(run["id"]), what="the note of the late end")
        assert late[0]["kind"] == "late_end"
        assert (late[0]["at"] - row["abort_requested_at"]).total_seconds() > 1


def test_an_agent_that_is_to_finish_runs_on_and_the_record_says_so(
    gateway: Gateway, route: Route, stream: bool
) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("steadfast/slow-100x20ms", stream=stream))
    run = open_run(gateway, seen)
    client.leave("fin")
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", False)
    assert row["output_tokens"] == 100
    assert [note["kind"] for note in gateway.store.notes(run["id"])] == ["client_gone"]


def test_nothing_is_logged_as_an_error_when_clients_leave(gateway: Gateway, route: Route, stream: bool) -> None:
    before = len(gateway.log)
    for leaving in WAYS:
        test_leaving_in_the_middle_of_the_output_stops_the_agent(gateway, route, stream, leaving)
    log = gateway.log[before:]
    assert "ERROR" not in log
    assert "Traceback" not in log


def let_the_agent_begin(gateway: Gateway, run: Row, seconds: float = 0.3) -> None:
    """Of an agent whose output is not sent yet only its row is seen, committed just before it is called.

    A busy machine may keep the server from its turn for longer: after that time it must have answered others.
    """
    wait_for(lambda: (clock.now() - run["started_at"]).total_seconds() > seconds)
    let_the_server_turn(gateway)


def let_the_server_turn(gateway: Gateway) -> None:
    """When others were answered, what had come before them was read too."""
    other = Client(gateway.port, host=gateway.address)
    for _ in range(2):
        other.send("GET", "/v1/models", key=gateway.key)
        other.read_reply()
    other.close()
