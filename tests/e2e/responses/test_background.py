"""Responses in the background: they run without their client, are followed by anybody, and end for everybody."""

import copy
import signal
from typing import Any

import pytest

from tests import spec
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, Row, wait_for
from tests.e2e.responses.client import answer_of, call, respond
from tests.e2e.wire import Client, ask
from tests.responses.reader import events_of, read
from tests.spec.frames import event_faults

pytestmark = pytest.mark.e2e


def begin(gateway: Gateway, model: str, **body: Any) -> dict[str, Any]:
    """A response in the background."""
    return answer_of(respond(gateway, model, background=True, **body))


def events_after(gateway: Gateway, id_: str, number: int) -> list[Any]:
    reply = call(gateway, "GET", f"{id_}?stream=true&starting_after={number}")
    assert reply.status == 200
    events = events_of(reply.body)
    assert [fault for event in events for fault in event_faults(event)] == []
    return events


def final(gateway: Gateway, id_: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body: dict[str, Any] = call(gateway, "GET", id_).json
        return body if body["status"] not in ("queued", "in_progress") else None

    return wait_for(look, what="the response's end")


def row_of(gateway: Gateway, id_: str) -> Row:
    return gateway.store.ended(id_.removeprefix("resp_"))


@pytest.mark.compliance("OpenAI Responses", "background")
@pytest.mark.compliance("Open Responses", "background")
def test_it_is_answered_at_once_and_polled(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/slow-5x400ms")
    assert (begun["status"], begun["background"], begun["store"]) == ("queued", True, True)
    assert spec.faults(spec.OPEN_RESPONSES, "ResponseResource", begun) == []
    assert call(gateway, "GET", begun["id"]).json["status"] in ("queued", "in_progress")
    ended = final(gateway, begun["id"])
    assert ended["status"] == "completed"
    assert ended["output"][0]["content"][0]["text"].split() == ["alpha", "bravo", "charlie", "delta", "echo"]
    assert spec.faults(spec.OPEN_RESPONSES, "ResponseResource", ended) == []
    row = row_of(gateway, begun["id"])
    assert (row["status"], row["background"], row["delivered"], row["abort_cause"]) == ("completed", True, True, "")
    assert row["started_at"] is not None


@pytest.mark.compliance("OpenAI Responses", "background")
@pytest.mark.compliance("Open Responses", "background")
def test_its_client_may_stream_it_and_leave(gateway: Gateway) -> None:
    client = Client(gateway.port)
    body = {"model": "scripted/slow-20x20ms", "input": "x", "background": True, "stream": True}
    client.send("POST", "/v1/responses", key=gateway.key, body=body)
    id_ = "resp_" + client.read_head().headers["x-request-id"].replace("-", "")
    client.read_until(b"bravo")
    client.leave("rst")
    assert final(gateway, id_)["status"] == "completed"
    row = row_of(gateway, id_)
    assert (row["status"], row["abort_cause"], row["output_tokens"]) == ("completed", "", 20)


@pytest.mark.compliance("OpenAI Responses", "DELETE /responses/{response_id}", "ResponseErrorEvent")
@pytest.mark.compliance("Open Responses", "error")
def test_who_follows_it_when_it_is_deleted_is_told_so(gateway: Gateway) -> None:
    begun = begin(gateway, "steadfast/stubborn-60000ms")  # Neither its own end nor its grace period's may come first.
    follower = Client(gateway.port)
    follower.send("GET", f"/v1/responses/{begun['id']}?stream=true", key=gateway.key)
    follower.read_head()
    chunks, stream = follower.read_chunks(), b""
    while b"never" not in stream:
        stream += next(chunks)
    assert call(gateway, "DELETE", begun["id"]).status == 200
    *_, last, error = events_of(stream + b"".join(chunks))
    assert (error["type"], error["error"]["code"]) == ("error", "response_not_found")
    assert error["sequence_number"] == last["sequence_number"]


@pytest.mark.compliance("OpenAI Responses", "starting_after")
@pytest.mark.compliance("Open Responses", "response.queued", "sequence_number")
def test_its_stream_is_read_again_from_anywhere_and_followed_to_its_end(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/slow-10x30ms")
    live = events_after(gateway, begun["id"], -1)
    assert [event["type"] for event in live[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    assert read(copy.deepcopy(live)) == live[-1]["response"]
    for number in range(-1, len(live)):
        assert events_after(gateway, begun["id"], number) == live[number + 1 :]


@pytest.mark.compliance("OpenAI Responses", "POST /responses/{response_id}/cancel", "Response.status cancelled")
def test_its_client_cancels_it(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/think-60000ms")
    wait_for(lambda: call(gateway, "GET", begun["id"]).json["status"] == "in_progress", what="its start")
    follower = Client(gateway.port)
    follower.send("GET", f"/v1/responses/{begun['id']}?stream=true", key=gateway.key)
    follower.read_until(b"response.in_progress")
    cancelled = call(gateway, "POST", f"{begun['id']}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert b'"status":"cancelled"' in follower.read_until(b"[DONE]")
    row = row_of(gateway, begun["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_cancelled", "stopped")
    assert row["abort_requested_by"] == "tester"
    again = call(gateway, "POST", f"{begun['id']}/cancel")
    assert (again.status, again.json) == (200, cancelled.json)


@pytest.mark.compliance("OpenAI Responses", "POST /responses/{response_id}/cancel")
def test_what_has_ended_or_is_in_the_foreground_is_not_cancelled(gateway: Gateway) -> None:
    foreground = answer_of(respond(gateway, "scripted/count-1"))
    reply = call(gateway, "POST", f"{foreground['id']}/cancel")
    assert (reply.status, reply.json["error"]["param"]) == (400, "id")
    begun = begin(gateway, "scripted/count-1")
    ended = final(gateway, begun["id"])
    assert call(gateway, "POST", f"{begun['id']}/cancel").json == ended


def test_a_failure_is_kept_too(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/fail-after-2")
    ended = final(gateway, begun["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "scripted_failure")
    assert events_after(gateway, begun["id"], 2)[-1]["response"] == ended
    assert row_of(gateway, begun["id"])["status"] == "failed"


@pytest.mark.compliance("OpenAI Responses", "background.store")
@pytest.mark.compliance("Open Responses", "background")
def test_it_must_be_stored_and_its_request_right(gateway: Gateway) -> None:
    assert respond(gateway, "scripted/echo", background=True, store=False).json["error"]["param"] == "store"
    assert respond(gateway, "scripted/echo", background=True, input=[]).status == 400
    assert respond(gateway, "nobody/x", background=True).status == 404


def test_it_waits_for_its_place_and_can_be_cancelled_there(gateway: Gateway) -> None:
    holder = begin(gateway, "narrow/think-60000ms")
    waiting = begin(gateway, "narrow/count-1")
    assert call(gateway, "GET", waiting["id"]).json["status"] == "queued"
    assert call(gateway, "POST", f"{waiting['id']}/cancel").json["status"] == "cancelled"
    assert call(gateway, "POST", f"{holder['id']}/cancel").json["status"] == "cancelled"
    row = row_of(gateway, waiting["id"])
    assert (row["status"], row["abort_phase"], row["started_at"]) == ("aborted", "queued", None)


@pytest.mark.compliance("OpenAI Responses", "DELETE /responses/{response_id}")
def test_deleting_it_stops_it(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/think-60000ms")
    assert call(gateway, "DELETE", begun["id"]).json["deleted"] is True
    assert call(gateway, "GET", begun["id"]).status == 404
    row = row_of(gateway, begun["id"])
    assert (row["status"], row["abort_cause"]) == ("aborted", "client_cancelled")
    assert (
        gateway.store.query("SELECT * FROM gateway_response_frames WHERE response_id = ?", _key(gateway, begun)) == []
    )


def _key(gateway: Gateway, response: dict[str, Any]) -> str:
    return str(response["id"].removeprefix("resp_"))


@pytest.mark.compliance("OpenAI Responses", "background")
def test_another_process_follows_and_cancels_it(make_gateway: MakeGateway) -> None:
    owner, other = make_gateway(), make_gateway()
    begun = begin(owner, "scripted/slow-20x30ms")
    live = events_after(other, begun["id"], -1)
    assert live[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    begun = begin(owner, "scripted/think-60000ms")
    assert call(other, "POST", f"{begun['id']}/cancel").json["status"] == "cancelled"


@pytest.mark.compliance("Open Responses", "sequence_number", "response.failed")
@pytest.mark.compliance("OpenAI Responses", "background", "Response.output after a crash")
def test_when_its_process_dies_it_has_failed(make_gateway: MakeGateway) -> None:
    owner, other = make_gateway(LEASE_SECONDS=1.5), make_gateway(LEASE_SECONDS=1.5)
    begun = begin(owner, "scripted/slow-3000x20ms")
    follower = Client(other.port)
    follower.send("GET", f"/v1/responses/{begun['id']}?stream=true", key=other.key)
    follower.read_until(b"bravo")
    assert owner.process is not None
    owner.process.send_signal(signal.SIGKILL)
    assert b"response.failed" in follower.read_until(b"[DONE]")
    assert final(other, begun["id"])["error"]["code"] == "server_error"
    events = events_after(other, begun["id"], -1)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    [message] = events[-1]["response"]["output"]
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert message["content"][0]["text"] == said
    assert said.startswith("alpha bravo")
    assert final(other, begun["id"])["output"] == [message]
    assert row_of(other, begun["id"])["abort_cause"] == "worker_lost"


def test_at_the_end_of_its_process_it_is_stopped_and_says_so(make_gateway: MakeGateway) -> None:
    gateway, other = make_gateway(DRAIN_SECONDS=0.1), make_gateway()
    begun = begin(gateway, "scripted/slow-3000x20ms")
    assert gateway.terminate() == 0
    ended = final(other, begun["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "shutting_down")
    assert row_of(other, begun["id"])["abort_cause"] == "shutdown"


@pytest.mark.compliance("OpenAI Responses", "response.reasoning_text.delta")
def test_raw_reasoning_is_followed_by_the_name_that_the_follower_knows(gateway: Gateway) -> None:
    begun = begin(gateway, "scripted/judge", reasoning={"effort": "low"})
    final(gateway, begun["id"])
    for follower, name in (({"x-stainless-lang": "python"}, "reasoning_text"), ({}, "reasoning")):
        path = f"/v1/responses/{begun['id']}?stream=true"
        events = ask(gateway.port, "GET", path, key=gateway.key, headers=follower).events
        told = {event["type"] for event in events if event != "[DONE]" and "reasoning" in event["type"]}
        assert told == {f"response.{name}.delta", f"response.{name}.done"}
