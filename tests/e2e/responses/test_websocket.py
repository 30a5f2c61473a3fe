"""Responses over a WebSocket: in order, remembered, and told what is wrong without losing the connection."""

import json
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from websockets.sync.client import connect

from gateway_project.ids import new_run_id
from tests import spec
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, Row, wait_for
from tests.e2e.responses.client import call, respond
from tests.e2e.socket_wire import SocketClient
from tests.responses.reader import read

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024


def opened(gateway: Gateway, **more: Any) -> SocketClient:
    """A socket that is open."""
    client = SocketClient(gateway.port, key=gateway.key, **more)
    assert client.response.status_code == 101, client.response.body
    return client


def named(gateway: Gateway) -> tuple[SocketClient, str]:
    """A socket that is open, and how its client calls it: others may leave rows at the same time."""
    name = new_run_id().hex
    return opened(gateway, headers={"X-Client-Request-Id": name}), name


def runs_of(gateway: Gateway, name: str) -> list[Row]:
    """What was recorded of it, in the order in which it came."""
    return gateway.store.query("SELECT * FROM gateway_run WHERE client_request_id = ? ORDER BY received_at", name)


def answer_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The response object of a whole answer."""
    response: dict[str, Any] = events[-1]["response"]
    return response


def error_of(client: SocketClient) -> dict[str, Any]:
    """The next message, which is an error."""
    event = client.event()
    assert event["type"] == "error", event
    assert spec.faults(spec.OPEN_RESPONSES, "WebSocketErrorEvent", event) == []
    assert "sequence_number" not in event
    error: dict[str, Any] = {"status": event["status"], **event["error"]}
    assert isinstance(error["code"], str)
    return error


def texts(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def row_of(gateway: Gateway, response: dict[str, Any]) -> Row:
    return gateway.store.ended(response["id"].removeprefix("resp_"))


# -- the way it goes well -------------------------------------------------------------------------------


@pytest.mark.compliance("Open Responses", "WebSocket")
def test_a_real_client_gets_the_events_of_the_stream_each_in_a_frame(gateway: Gateway) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/v1/responses"
    with connect(url, additional_headers={"Authorization": f"Bearer {gateway.key}"}) as socket:
        for _ in range(2):
            socket.send(json.dumps({"type": "response.create", "model": "scripted/count-3", "input": "x"}))
            events: list[dict[str, Any]] = []
            while not events or events[-1]["type"] != "response.completed":
                events.append(json.loads(socket.recv(timeout=10)))
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert texts(read(events)) == "alpha bravo charlie"
            row = row_of(gateway, answer_of(events))
            assert (row["status"], row["endpoint"], row["streaming"]) == ("completed", "responses", True)
            assert (row["delivered"], row["http_status"], row["events_sent"]) == (True, 200, 5)
            assert "websocket" in str(row["parameters"])
            assert row["bytes_sent"] > 0


def test_what_is_sent_at_once_is_answered_in_order_and_never_mixed(gateway: Gateway) -> None:
    client = opened(gateway)
    for words in (5, 3, 4, 1):
        client.create(f"scripted/slow-{words}x20ms")
    for words in (5, 3, 4, 1):
        events = client.events()
        assert len({event["response"]["id"] for event in events if "response" in event}) == 1
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert len(texts(read(events)).split()) == words


@pytest.mark.compliance("OpenAI Responses", "stream_id")
def test_what_belongs_to_a_stream_of_the_clients_says_so_errors_too(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/count-2", stream_id="left", generate=True)
    client.create("nobody/x", stream_id="right")
    client.create("scripted/count-1")
    assert {event["stream_id"] for event in client.events()} == {"left"}
    assert [(event["type"], event["stream_id"]) for event in client.events()] == [("error", "right")]
    assert [event for event in client.events() if "stream_id" in event] == []


def test_one_response_runs_at_a_time(gateway: Gateway) -> None:
    client = opened(gateway)
    for _ in range(3):
        client.create("scripted/slow-5x20ms")
    rows = [row_of(gateway, answer_of(client.events())) for _ in range(3)]
    for before, after in pairwise(rows):
        assert after["started_at"] >= before["settled_at"]


def test_more_than_eight_that_wait_are_refused_in_their_turn(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/think-300ms")
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"
    assert client.events()[-1]["type"] == "response.completed"
    client.create("scripted/think-5000ms")
    its_own = "SELECT 1 FROM gateway_run WHERE status = 'running' AND model = 'think-5000ms'"
    wait_for(lambda: gateway.store.query(its_own), what="its start")
    for _ in range(10):
        client.create("scripted/count-1")
    ends = [client.events()[-1] for _ in range(11)]
    assert [event["type"] for event in ends] == ["response.completed"] * 9 + ["error"] * 2
    assert (ends[-1]["status"], ends[-1]["error"]["code"]) == (429, "queue_full")
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"


def test_who_never_waits_for_answers_is_cut_off(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/think-60000ms")
    for _ in range(200):
        client.say("nonsense")
    assert client.close_code() == 1008


# -- what is wrong ----------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, int, str, str | None]] = {
    "no JSON": ("nonsense", 400, "invalid_json", None),
    "no object": ("[1]", 400, "invalid_value", None),
    "no type": ({"model": "scripted/echo", "input": "x"}, 400, "invalid_value", "type"),
    "another type": ({"type": "response.cancel"}, 400, "invalid_value", "type"),
    "a nested body": ({"response": {"model": "scripted/echo"}}, 400, "invalid_value", "type"),
    "a number too large": ('{"type":"response.create","model":"scripted/echo","n":1e999}', 400, "invalid_json", None),
    "a surrogate": ('{"type":"response.create","model":"\\ud800"}', 400, "invalid_json", None),
}
WRONG_BODIES: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "stream": ({"stream": True}, 400, "unsupported_parameter", "stream"),
    "no stream": ({"stream": False}, 400, "unsupported_parameter", "stream"),
    "stream options": ({"stream_options": {}}, 400, "unsupported_parameter", "stream_options"),
    "background": ({"background": False}, 400, "unsupported_parameter", "background"),
    "nothing to be generated": ({"generate": False}, 400, "unsupported_parameter", "generate"),
    "a stream without a name": ({"stream_id": 7}, 400, "invalid_value", "stream_id"),
    "a refused field": ({"conversation": "c"}, 400, "unsupported_parameter", "conversation"),
    "a wrong value": ({"temperature": 9}, 400, "invalid_value", "temperature"),
    "no such model": ({"model": "nobody/x"}, 404, "model_not_found", "model"),
    "nothing to go on from": (
        {"previous_response_id": "resp_" + "0" * 32},
        400,
        "previous_response_not_found",
        "previous_response_id",
    ),
}


@pytest.mark.compliance("Open Responses", "WebSocketErrorEvent")
@pytest.mark.parametrize("case", WRONG)
def test_a_message_that_is_no_request_is_told_so_and_the_socket_stays_open(gateway: Gateway, case: str) -> None:
    message, status, code, param = WRONG[case]
    client, name = named(gateway)
    client.say(message)
    error = error_of(client)
    assert (error["status"], error["code"], error["param"]) == (status, code, param)
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"
    assert len(runs_of(gateway, name)) == 1


@pytest.mark.compliance("Open Responses", "WebSocketResponseCreateEvent")
@pytest.mark.parametrize("case", WRONG_BODIES)
def test_a_wrong_request_is_told_so_recorded_and_the_socket_stays_open(gateway: Gateway, case: str) -> None:
    body, status, code, param = WRONG_BODIES[case]
    client, name = named(gateway)
    client.create(**{"model": "scripted/echo", **body})
    error = error_of(client)
    assert (error["status"], error["code"], error["param"]) == (status, code, param)
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"
    wait_for(lambda: len(runs_of(gateway, name)) == 2, what="both rows")
    rejected, _ = runs_of(gateway, name)
    assert (rejected["error_code"], rejected["http_status"], rejected["endpoint"]) == (code, status, "responses")


def test_binary_frames_are_not_read(gateway: Gateway) -> None:
    client = opened(gateway)
    client.send_binary(b"{}")
    assert error_of(client)["code"] == "invalid_value"
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"


def test_a_message_may_be_as_large_as_a_body_and_no_larger(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/echo", input="x" * (10 * MIB - 1000), store=False)
    events = client.events()
    assert len(texts(answer_of(events))) == 10 * MIB - 1000
    with suppress(ConnectionError):  # The server may close before it has read it all.
        client.create("scripted/echo", input="x" * 10 * MIB)
    assert client.close_code() == 1009


def test_what_is_no_utf8_closes_the_socket_with_the_code_for_that(gateway: Gateway) -> None:
    client = opened(gateway)
    client.send_text("\ud800")
    assert client.close_code() == 1007


def test_an_agent_that_fails_before_its_first_event_is_an_error_and_later_a_failed_response(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/fail")
    error = error_of(client)
    assert (error["status"], error["code"]) == (500, "scripted_failure")
    client.create("scripted/fail-after-2")
    events = client.events()
    assert events[-1]["type"] == "response.failed"
    assert answer_of(events)["error"]["code"] == "scripted_failure"
    assert row_of(gateway, answer_of(events))["status"] == "failed"
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"


def test_nothing_of_all_this_is_logged_as_an_error(gateway: Gateway) -> None:
    before = len(gateway.log)
    for case in WRONG:
        test_a_message_that_is_no_request_is_told_so_and_the_socket_stays_open(gateway, case)
    test_binary_frames_are_not_read(gateway)
    test_what_is_no_utf8_closes_the_socket_with_the_code_for_that(gateway)
    assert "ERROR" not in gateway.log[before:]
    assert "Traceback" not in gateway.log[before:]


# -- continued ----------------------------------------------------------------------------------------------


@pytest.mark.compliance("Open Responses", "WebSocket previous_response_id")
def test_what_is_stored_is_continued_from_anywhere(gateway: Gateway) -> None:
    over_http = respond(gateway, "scripted/count-2", input="one").json
    client = opened(gateway)
    client.create("scripted/count-2", input="two", previous_response_id=over_http["id"])
    second = answer_of(client.events())
    assert second["store"] is True
    assert call(gateway, "GET", second["id"]).json == second
    third = respond(gateway, "scripted/echo", input="three", previous_response_id=second["id"]).json
    assert third["usage"]["input_tokens"] == 7
    assert row_of(gateway, second)["parent_run"].replace("-", "") == over_http["id"].removeprefix("resp_")


@pytest.mark.compliance("Open Responses", "WebSocket store")
def test_what_is_not_stored_is_continued_on_its_own_socket_only(gateway: Gateway) -> None:
    client, other = opened(gateway), opened(gateway)
    client.create("scripted/count-2", input="one", store=False)
    first = answer_of(client.events())
    other.create("scripted/echo", previous_response_id=first["id"])
    assert error_of(other)["code"] == "previous_response_not_found"
    assert call(gateway, "GET", first["id"]).status == 404
    client.create("scripted/count-2", input="two", store=False, previous_response_id=first["id"])
    second = answer_of(client.events())
    client.create("scripted/echo", input="three", store=False, previous_response_id=second["id"])
    assert answer_of(client.events())["usage"]["input_tokens"] == 7


@pytest.mark.compliance("Open Responses", "WebSocket store")
def test_only_the_latest_response_is_remembered(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/count-1", store=False)
    first = answer_of(client.events())
    client.create("scripted/count-1", store=False)
    client.events()
    client.create("scripted/echo", previous_response_id=first["id"])
    assert error_of(client)["code"] == "previous_response_not_found"


@pytest.mark.compliance("Open Responses", "WebSocket previous_response_id")
@pytest.mark.parametrize(
    "failing", [{"temperature": 9}, {"model": "scripted/fail"}, {"model": "scripted/fail-after-1"}]
)
def test_what_was_continued_in_vain_is_forgotten(gateway: Gateway, failing: dict[str, Any]) -> None:
    client = opened(gateway)
    client.create("scripted/count-1", store=False)
    first = answer_of(client.events())
    client.create(**{"model": "scripted/echo", **failing})
    client.events()
    client.create("scripted/echo", store=False, previous_response_id=first["id"])
    client.events()  # A failure of something else has not hurt it.
    client.create("scripted/count-1", store=False)
    first = answer_of(client.events())
    client.create(**{"model": "scripted/echo", "previous_response_id": first["id"], **failing})
    assert client.events()[-1]["type"] in ("error", "response.failed")
    client.create("scripted/echo", previous_response_id=first["id"])
    assert error_of(client)["code"] == "previous_response_not_found"


def test_what_is_stored_behind_what_is_not_can_be_continued_from_anywhere(gateway: Gateway) -> None:
    client = opened(gateway)
    client.create("scripted/count-2", input="one", store=False)
    first = answer_of(client.events())
    client.create("scripted/count-2", input="two", previous_response_id=first["id"])
    second = answer_of(client.events())
    third = respond(gateway, "scripted/echo", input="three", previous_response_id=second["id"]).json
    assert third["usage"]["input_tokens"] == 7


# -- the handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": "Bearer nonsense"}, 401, "invalid_api_key"),
        ({"Host": "elsewhere.example"}, 400, "invalid_host"),
        ({"Origin": "https://elsewhere.example"}, 403, "origin_not_allowed"),
        ({"Origin": "null"}, 403, "origin_not_allowed"),
    ],
)
def test_a_handshake_is_refused_with_a_status_and_the_envelope(
    gateway: Gateway, headers: dict[str, str], status: int, code: str
) -> None:
    name = new_run_id().hex
    client = SocketClient(gateway.port, key=gateway.key, headers=headers | {"X-Client-Request-Id": name})
    assert client.response.status_code == status
    assert json.loads(client.response.body)["error"]["code"] == code
    request_id = client.response.headers["x-request-id"]
    assert client.is_closed_by_server()
    assert not runs_of(gateway, name)
    assert any(line.get("run_id") == request_id for line in gateway.log_lines)


def test_a_page_of_an_allowed_origin_and_of_our_own_may_open_it(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(CORS_ORIGINS=["https://app.example"])
    for origin in ("https://app.example", f"http://127.0.0.1:{gateway.port}"):
        opened(gateway, headers={"Origin": origin})


def test_a_page_may_send_its_key_as_a_subprotocol_which_is_never_sent_back(gateway: Gateway) -> None:
    offered = [f"openai-insecure-api-key.{gateway.key}", "realtime"]
    client = SocketClient(gateway.port, key=None, subprotocols=offered)
    assert client.response.status_code == 101
    assert client.protocol.subprotocol == "realtime"
    client.create("scripted/count-1")
    assert client.events()[-1]["type"] == "response.completed"
    wrong = SocketClient(gateway.port, key=None, subprotocols=["realtime", "openai-insecure-api-key.x"])
    assert wrong.response.status_code == 401


def test_other_paths_are_not_ours(gateway: Gateway) -> None:
    class Elsewhere(SocketClient):
        path = "/v1/responses/x"

    assert Elsewhere(gateway.port, key=gateway.key).response.status_code != 101


def test_a_handshake_that_is_none_does_no_harm(gateway: Gateway) -> None:
    before = len(gateway.log)
    client = SocketClient(gateway.port, key=gateway.key, headers={"Sec-WebSocket-Key": "short"})
    assert client.response.status_code == 400
    assert client.is_closed_by_server()
    assert "Traceback" not in gateway.log[before:]


# -- how long it lasts ------------------------------------------------------------------------------------------


@pytest.mark.compliance("Open Responses", "websocket_connection_limit_reached")
def test_a_connection_lasts_so_long_and_no_longer(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(RESPONSES={"SOCKET_SECONDS": 3.0})
    idle, busy = opened(gateway), opened(gateway)
    busy.create("scripted/slow-3000x20ms")
    busy.create("scripted/count-1")
    busy.read_text("bravo")
    begun = time.monotonic()
    assert error_of(idle)["code"] == "websocket_connection_limit_reached"
    assert idle.close_code() == 1000
    assert answer_of(busy.events())["error"]["code"] == "run_timeout"
    assert error_of(busy)["code"] == "websocket_connection_limit_reached"
    assert busy.close_code() == 1000
    assert time.monotonic() - begun < 20
    wait_for(lambda: len(gateway.store.runs()) == 2, what="the row of the one that waited")
    ends = [gateway.store.ended(row["id"]) for row in gateway.store.runs()]
    waited, stopped = sorted(ends, key=lambda row: row["status"], reverse=True)
    assert (stopped["status"], stopped["abort_cause"], stopped["abort_outcome"]) == ("aborted", "timeout", "stopped")
    assert (waited["status"], waited["error_code"]) == ("rejected", "websocket_connection_limit_reached")
