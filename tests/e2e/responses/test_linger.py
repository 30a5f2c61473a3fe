"""``ON_DISCONNECT = "linger:SECONDS"``: a stream whose client drops may be resumed for a while."""

import time
from typing import Any

import pytest

from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, wait_for
from tests.e2e.responses.client import call, respond
from tests.e2e.wire import Client
from tests.spec.frames import event_faults

pytestmark = pytest.mark.e2e


def drop_in_mid_stream(gateway: Gateway, model: str, **body: Any) -> str:
    """Begin a stream and drop it; the response's id."""
    client = Client(gateway.port)
    whole = {"model": f"lingering/{model}", "input": "x", "stream": True, **body}
    client.send("POST", "/v1/responses", key=gateway.key, body=whole)
    id_ = "resp_" + client.read_head().headers["x-request-id"].replace("-", "")
    client.read_until(b"bravo")
    client.leave("rst")
    return id_


@pytest.mark.compliance("OpenAI Responses", "starting_after")
def test_whoever_comes_back_in_time_gets_all_of_it(gateway: Gateway) -> None:
    id_ = drop_in_mid_stream(gateway, "slow-60x50ms")
    reply = call(gateway, "GET", f"{id_}?stream=true&starting_after=4")
    *events, done = reply.events
    assert done == "[DONE]"
    assert [event["sequence_number"] for event in events] == list(range(5, 5 + len(events)))
    assert [fault for event in events for fault in event_faults(event)] == []
    assert events[-1]["type"] == "response.completed"
    assert len(events[-1]["response"]["output"][0]["content"][0]["text"].split()) == 60
    row = gateway.store.ended(id_.removeprefix("resp_"))
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", True)
    notes = [note["kind"] for note in gateway.store.notes(row["id"])]
    assert notes == ["client_gone", "resumed"]


def test_when_nobody_comes_back_it_is_stopped(gateway: Gateway) -> None:
    id_ = drop_in_mid_stream(gateway, "slow-3000x20ms")
    row = gateway.store.ended(id_.removeprefix("resp_"))
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    assert row["abort_reason"] == "not resumed within 2 s"
    [note] = gateway.store.notes(row["id"])
    assert 1.9 < (row["abort_requested_at"] - note["at"]).total_seconds() < 20
    assert call(gateway, "GET", id_).json["status"] == "cancelled"
    assert call(gateway, "GET", f"{id_}?stream=true").events[-2]["response"]["status"] == "cancelled"


def test_whoever_comes_back_and_leaves_again_starts_the_wait_anew(gateway: Gateway) -> None:
    id_ = drop_in_mid_stream(gateway, "slow-3000x20ms")
    follower = Client(gateway.port)
    follower.send("GET", f"/v1/responses/{id_}?stream=true", key=gateway.key)
    follower.read_until(b"bravo")
    until = time.monotonic() + 4.5
    while time.monotonic() < until:  # Longer than the wait: being followed keeps it alive.
        follower.read_until(b"charlie")
    assert call(gateway, "GET", id_).json["status"] == "in_progress"
    follower.leave("fin")
    row = gateway.store.ended(id_.removeprefix("resp_"))
    assert (row["status"], row["abort_cause"]) == ("aborted", "client_disconnect")


def test_it_may_be_resumed_by_another_process(make_gateway: MakeGateway) -> None:
    owner, other = make_gateway(), make_gateway()
    id_ = drop_in_mid_stream(owner, "slow-80x50ms")
    events = call(other, "GET", f"{id_}?stream=true&starting_after=-1").events
    assert events[-2]["type"] == "response.completed"
    row = owner.store.ended(id_.removeprefix("resp_"))
    assert (row["status"], row["abort_cause"]) == ("completed", "")


def test_what_is_not_stored_cannot_be_resumed_and_is_stopped_at_once(gateway: Gateway) -> None:
    id_ = drop_in_mid_stream(gateway, "slow-3000x20ms", store=False)
    row = gateway.store.ended(id_.removeprefix("resp_"))
    assert (row["status"], row["abort_cause"], row["abort_reason"]) == ("aborted", "client_disconnect", "")


def test_elsewhere_lingering_means_to_cancel(gateway: Gateway) -> None:
    client = Client(gateway.port)
    body = {"model": "lingering/slow-3000x20ms", "messages": [{"role": "user", "content": "x"}], "stream": True}
    client.send("POST", "/v1/chat/completions", key=gateway.key, body=body)
    run_id = client.read_head().headers["x-request-id"]
    client.read_until(b"bravo")
    client.leave("rst")
    row = wait_for(lambda: gateway.store.ended(run_id), what="its end")
    assert (row["abort_cause"], row["abort_reason"]) == ("client_disconnect", "")


def test_of_a_stream_that_is_refused_nothing_is_kept(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(LIMITS={"CONCURRENT_RUNS_PER_KEY": 1, "QUEUED_RUNS": 0})
    body = {"model": "lingering/slow-3000x20ms", "input": "x", "stream": True}
    first = Client(gateway.port)
    first.send("POST", "/v1/responses", key=gateway.key, body=body)
    first.read_until(b"bravo")
    assert respond(gateway, "lingering/slow-3000x20ms", stream=True).status == 429
    assert gateway.store.query("SELECT COUNT(*) AS number FROM gateway_response") == [{"number": 1}]
