"""Stored responses: continued, read again, listed, deleted, and never shown to anybody else."""

from typing import Any

import pytest

from tests import spec
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.responses.client import answer_of, call, env_of, respond
from tests.e2e.wire import Client, Reply, ask

pytestmark = pytest.mark.e2e


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}", "store")
@pytest.mark.compliance("Open Responses", "store")
def test_a_response_can_be_read_again_as_it_was(gateway: Gateway, stream: bool) -> None:
    answer = answer_of(respond(gateway, "scripted/count-3", stream=stream))
    assert answer["store"] is True
    again = call(gateway, "GET", answer["id"])
    assert again.status == 200
    assert again.json == answer
    assert spec.faults(spec.OPEN_RESPONSES, "ResponseResource", again.json) == []


@pytest.mark.compliance("OpenAI Responses", "store")
@pytest.mark.compliance("Open Responses", "store", "previous_response_id")
def test_what_is_not_to_be_stored_is_not_there(gateway: Gateway, stream: bool) -> None:
    answer = answer_of(respond(gateway, "scripted/count-3", stream=stream, store=False))
    assert answer["store"] is False
    assert call(gateway, "GET", answer["id"]).status == 404
    reply = respond(gateway, "scripted/echo", previous_response_id=answer["id"])
    assert (reply.status, reply.json["error"]["code"]) == (400, "previous_response_not_found")


def test_an_operator_may_store_nothing(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(RESPONSES={"STORE": False})
    answer = answer_of(respond(gateway, "scripted/count-3", store=True))
    assert answer["store"] is False
    assert call(gateway, "GET", answer["id"]).status == 404
    reply = respond(gateway, "scripted/count-3", background=True)
    assert (reply.status, reply.json["error"]["param"]) == (400, "background")


@pytest.mark.compliance("Open Responses", "previous_response_id", "instructions")
def test_a_conversation_goes_on_without_being_sent_again(gateway: Gateway, stream: bool) -> None:
    first = answer_of(respond(gateway, "scripted/count-2", input="one", instructions="Be short."))
    second = answer_of(respond(gateway, "scripted/count-2", input="two", previous_response_id=first["id"]))
    assert second["previous_response_id"] == first["id"]
    reply = respond(gateway, "scripted/echo", stream=stream, input="three", previous_response_id=second["id"])
    third = answer_of(reply)
    # Every message counts a token a word: one + alpha bravo + two + alpha bravo + three, and no instructions.
    assert third["usage"]["input_tokens"] == 7
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert row["parent_run"].replace("-", "") == second["id"].removeprefix("resp_")


@pytest.mark.compliance("Open Responses", "previous_response_id", "FunctionCallOutputItemParam")
def test_a_call_is_answered_in_the_next_request(gateway: Gateway) -> None:
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    first = answer_of(respond(gateway, "scripted/tool", tools=[tool]))
    [called] = first["output"]
    result = {"type": "function_call_output", "call_id": called["call_id"], "output": "sunny"}
    second = answer_of(respond(gateway, "scripted/tool", input=[result], previous_response_id=first["id"]))
    assert second["output"][0]["content"][0]["text"] == "The tool said: sunny"
    reply = respond(gateway, "scripted/tool", input=[{**result, "call_id": "call_x"}], previous_response_id=first["id"])
    assert (reply.status, reply.json["error"]["param"]) == (400, "input[0].call_id")


@pytest.mark.compliance("Open Responses", "ItemReferenceParam")
def test_items_can_be_referred_to_by_their_ids(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "scripted/count-2", input="one"))
    items = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "two three"}]
    second = answer_of(respond(gateway, "scripted/echo", input=items))
    assert second["usage"]["input_tokens"] == 4
    unknown = respond(gateway, "scripted/echo", input=[{"id": first["output"][0]["id"] + "ff"}])
    assert (unknown.status, unknown.json["error"]["code"]) == (400, "item_not_found")


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}/input_items")
def test_the_input_can_be_listed_in_pages(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "scripted/count-1", input="one"))
    items = [{"role": "user", "content": "two"}, {"role": "user", "content": "three"}]
    second = answer_of(respond(gateway, "scripted/count-1", input=items, previous_response_id=first["id"]))
    path = f"{second['id']}/input_items"
    whole = call(gateway, "GET", f"{path}?order=asc").json
    assert spec.faults(spec.OPENAI_RESPONSES, "ResponseItemList", whole) == []
    assert [item["content"][0]["text"] for item in whole["data"]] == ["one", "alpha", "two", "three"]
    assert (whole["object"], whole["has_more"]) == ("list", False)
    ids = [item["id"] for item in whole["data"]]
    assert (whole["first_id"], whole["last_id"]) == (ids[0], ids[-1])
    page = call(gateway, "GET", f"{path}?limit=2&after={ids[-1]}").json
    assert ([item["id"] for item in page["data"]], page["has_more"]) == ([ids[2], ids[1]], True)
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order")):
        reply = call(gateway, "GET", f"{path}?{query}")
        assert (reply.status, reply.json["error"]["param"]) == (400, param)


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}/input_items")
def test_every_item_of_the_input_is_listed_once_however_its_client_names_it(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "scripted/count-1", input="one"))
    items = [
        {"type": "item_reference", "id": first["output"][0]["id"]},
        {"type": "message", "id": "msg_mine", "role": "user", "content": "two"},
        {"type": None, "id": "msg_mine", "role": "user", "content": "three"},
    ]
    second = answer_of(respond(gateway, "scripted/count-1", input=items, previous_response_id=first["id"]))
    listed: list[dict[str, Any]] = []
    has_more = True
    while has_more and len(listed) < 9:
        after = f"&after={listed[-1]['id']}" if listed else ""
        page = call(gateway, "GET", f"{second['id']}/input_items?order=asc&limit=1{after}").json
        assert spec.faults(spec.OPENAI_RESPONSES, "ResponseItemList", page) == []
        listed += page["data"]
        has_more = page["has_more"]
    assert [item["content"][0]["text"] for item in listed] == ["one", "alpha", "alpha", "two", "three"]
    assert {item["type"] for item in listed} == {"message"}


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}/input_items")
def test_what_is_left_of_an_input_is_listed_when_an_earlier_response_is_gone(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "scripted/count-1", input="one"))
    second = answer_of(respond(gateway, "scripted/count-1", input="two", previous_response_id=first["id"]))
    third = answer_of(respond(gateway, "scripted/count-1", input="three", previous_response_id=second["id"]))
    call(gateway, "DELETE", first["id"])
    items = call(gateway, "GET", f"{third['id']}/input_items?order=asc").json["data"]
    assert [item["content"][0]["text"] for item in items] == ["two", "alpha", "three"]
    error = respond(gateway, "scripted/echo", previous_response_id=third["id"]).json["error"]
    assert (error["code"], first["id"] in error["message"]) == ("previous_response_not_found", True)


@pytest.mark.compliance("OpenAI Responses", "DELETE /responses/{response_id}")
@pytest.mark.compliance("Open Responses", "previous_response_id")
def test_what_is_deleted_is_gone(gateway: Gateway) -> None:
    answer = answer_of(respond(gateway, "scripted/count-1"))
    reply = call(gateway, "DELETE", answer["id"])
    assert (reply.status, reply.json) == (200, {"id": answer["id"], "object": "response", "deleted": True})
    for method in ("GET", "DELETE"):
        assert call(gateway, method, answer["id"]).status == 404
    again = respond(gateway, "scripted/echo", previous_response_id=answer["id"])
    assert again.json["error"]["code"] == "previous_response_not_found"


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}", "DELETE /responses/{response_id}")
@pytest.mark.compliance("Open Responses", "previous_response_id", "ItemReferenceParam")
def test_what_belongs_to_somebody_else_looks_as_if_it_were_not_there(gateway: Gateway) -> None:
    answer = answer_of(respond(gateway, "scripted/count-1"))
    stranger = manage("createkey", "stranger", env=env_of(gateway)).splitlines()[-1]
    paths = {"": "GET", "/input_items": "GET", "?stream=true": "GET", "/cancel": "POST"}
    for path, method in (*paths.items(), ("", "DELETE")):
        reply = ask(gateway.port, method, f"/v1/responses/{answer['id']}{path}", key=stranger)
        assert (reply.status, reply.json["error"]["code"]) == (404, "response_not_found")
    for more in (
        {"previous_response_id": answer["id"], "input": "x"},
        {"input": [{"type": "item_reference", "id": answer["output"][0]["id"]}]},
    ):
        body: dict[str, Any] = {"model": "scripted/echo", **more}
        assert ask(gateway.port, "POST", "/v1/responses", key=stranger, body=body).status == 400
    assert call(gateway, "GET", answer["id"]).status == 200


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}")
@pytest.mark.parametrize("id_", ["resp_x", "x", "chatcmpl-" + "0" * 32, "resp_" + "0" * 32, "%00"])
def test_ids_of_nothing_are_told_as_such(gateway: Gateway, id_: str) -> None:
    reply = call(gateway, "GET", id_)
    assert (reply.status, reply.json["error"]["code"]) == (404, "response_not_found")


def test_the_answer_is_stored_before_its_client_hears_of_the_end(gateway: Gateway, stream: bool) -> None:
    previous = None
    for _ in range(30):
        reply = respond(gateway, "scripted/count-1", stream=stream, previous_response_id=previous)
        assert reply.status == 200, reply.body
        previous = answer_of(reply)["id"]


@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_what_ends_while_the_database_is_away_can_be_read_when_it_is_back(
    make_gateway: MakeGateway, background: bool
) -> None:
    gateway = make_gateway(JOURNAL_SECONDS=1)
    if gateway.store.kind != "postgres":
        return  # A file cannot be taken away from a process that has it open.
    client = Client(gateway.port)
    body = {"model": "scripted/slow-20x50ms", "input": "x", "stream": True, "background": background}
    client.send("POST", "/v1/responses", key=gateway.key, body=body)
    id_ = "resp_" + client.read_head().headers["x-request-id"].replace("-", "")
    client.read_until(b"bravo")
    gateway.store.cut()
    if not background:
        assert b"response.completed" in client.read_until(b"[DONE]")
    else:
        wait_for(lambda: '"event": "run.finished"' in gateway.log, what="the run's end")
    assert call(gateway, "GET", id_).status == 503
    gateway.store.restore()
    answer = wait_for(lambda: _found(call(gateway, "GET", id_)), what="the response")
    assert answer["status"] == "completed"
    assert len(answer["output"][0]["content"][0]["text"].split()) == 20


def _found(reply: Reply) -> dict[str, Any] | None:
    return reply.json if reply.status == 200 and reply.json["status"] == "completed" else None
