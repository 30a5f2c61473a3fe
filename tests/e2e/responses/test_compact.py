"""``POST /v1/responses/compact``: what comes out continues the conversation."""

from typing import Any

import pytest

from tests import spec
from tests.e2e.abort.test_records import assert_aborted, open_run, run_ids
from tests.e2e.gateway import Gateway
from tests.e2e.responses.client import answer_of, respond
from tests.e2e.wire import Client, Leaving, Reply, ask

pytestmark = pytest.mark.e2e

PATH = "/v1/responses/compact"


def compact(gateway: Gateway, model: str, **body: Any) -> Reply:
    return ask(gateway.port, "POST", PATH, key=gateway.key, body={"model": model, **body})


@pytest.mark.compliance("Open Responses", "POST /responses/compact")
def test_what_comes_out_is_the_start_of_a_new_input(gateway: Gateway) -> None:
    first = answer_of(respond(gateway, "scripted/count-2", input="one"))
    reply = compact(gateway, "scripted/count-3", input="two", previous_response_id=first["id"])
    assert reply.status == 200
    assert spec.faults(spec.OPEN_RESPONSES, "CompactResource", reply.json) == []
    *users, compaction = reply.json["output"]
    assert [item["content"][0]["text"] for item in users] == ["one", "two"]
    assert compaction["type"] == "compaction"
    continued = answer_of(
        respond(gateway, "scripted/echo", input=[*reply.json["output"], {"role": "user", "content": "go on"}])
    )
    assert continued["status"] == "completed"
    # one, two, "Summary of the conversation so far:" with the three words of the summary, go on.
    assert continued["usage"]["input_tokens"] == 2 + 6 + 3 + 2
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["endpoint"], row["status"], row["delivered"]) == ("responses_compact", "completed", True)


@pytest.mark.compliance("Open Responses", "POST /responses/compact")
def test_a_wrong_request_is_told(gateway: Gateway) -> None:
    for body, param in (
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": "x", "stream": True}, "stream"),
    ):
        reply = compact(gateway, "scripted/echo", **body)
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
    assert ask(gateway.port, "POST", PATH, key=gateway.key, body={"input": "x"}).json["error"]["param"] == "model"


@pytest.mark.parametrize("leaving", ["fin", "rst", "half_close"])
def test_leaving_stops_the_agent(gateway: Gateway, leaving: Leaving) -> None:
    seen = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", PATH, key=gateway.key, body={"model": "scripted/think-60000ms", "input": "x"})
    run = open_run(gateway, seen)
    client.leave(leaving)
    assert_aborted(gateway.store.ended(run["id"]), "before_output")
