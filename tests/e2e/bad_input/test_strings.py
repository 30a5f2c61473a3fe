"""Strings that hurt, in every place where one is stored or echoed: the record is written, the answer is JSON."""

import json
from typing import Any

import pytest

from tests.e2e.bad_input.raw import PATIENCE_SECONDS, check_envelope
from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Reply

pytestmark = pytest.mark.e2e

STRINGS = {
    "NUL": "a\0b",
    "lines": "a\r\nSet-Cookie: b=c\r\n\r\n",
    "emoji": "\U0001f600\u200d\U0001f3f4\u0301",
    "noncharacters": "\uffff\ufffe\U0010ffff\ufeff",
    "separators": "\u2028\u2029\x85\x7f\x1b[31m",
    "an event's end": "\n\ndata: [DONE]\n\n",
    "markup": "</script><!-- ' \" ` {{7*7}} %s %(x)s {0}",
    "SQL": "'; DROP TABLE gateway_run; --",
    "right to left": "\u202e\u05d0",
    "300 characters": "\U0001f600" * 300,
}


def places(route: Route, text: str) -> dict[str, dict[str, Any]]:
    """Requests with `text` in each place that is stored or echoed."""
    is_chat = route.prompt_field == "messages"
    function = {"name": "f", "description": text, "parameters": {text: {"description": text}}}
    tool = {"type": "function"} | ({"function": function} if is_chat else function)
    result: dict[str, Any] = {"role": "tool", "tool_call_id": text, "content": text}
    if not is_chat:
        result = {"type": "function_call_output", "call_id": text, "output": text}
    changes: dict[str, dict[str, Any]] = {
        "the prompt": {route.prompt_field: [{"role": "user", "content": text}]},
        "the model": {"model": text},
        "a model of an agent": {"model": "scripted/" + text},
        "metadata": {"metadata": {text[:60]: text[:500]}},
        "the user": {"user": text},
        "the safety identifier": {"safety_identifier": text[:60]},
        "the key of the prompt's cache": {"prompt_cache_key": text[:60]},
        "the options of the prompt's cache": {"prompt_cache_options": {text: [text]}},
        "the tier": {"service_tier": text},
        "a tool": {"model": "scripted/tool", "tools": [tool]},
        "the tool's choice": {"tool_choice": {"type": text}},
        "an unanswered call": {route.prompt_field: [result]},
        "an unknown part": {route.prompt_field: [{"role": "user", "content": [{"type": text}]}]},
        "an unknown role": {route.prompt_field: [{"role": text, "content": "x"}]},
        "an unknown field": {text: text},
        "an enumeration": {"verbosity": text} if is_chat else {"truncation": text},
    }
    changes["stop" if is_chat else "the instructions"] = {"stop" if is_chat else "instructions": text}
    return changes


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
def test_strings(gateway: Gateway, route: Route, stream: bool, text: str) -> None:
    client = Client(gateway.port, timeout=PATIENCE_SECONDS)
    replies: dict[str, Reply] = {}
    for place, change in places(route, text).items():
        body = route.body("scripted/echo", stream=stream) | change
        client.send("POST", route.path, key=gateway.key, body=body)
        reply = replies[place] = client.read_reply()
        assert "set-cookie" not in reply.headers
        if reply.status == 200:
            assert (reply.events[-1] == "[DONE]") if stream else reply.json
            json.dumps(reply.body.decode())
        else:
            check_envelope(reply)
    if stream:
        assert route.streamed_text(replies["the prompt"].events) == text
    else:
        assert route.text(replies["the prompt"].json) == text
    rows = {place: gateway.store.ended(reply.headers["x-request-id"]) for place, reply in replies.items()}
    for place, reply in replies.items():
        assert rows[place]["status"] == ("completed" if reply.status == 200 else "rejected"), place
    refused = {place for place, reply in replies.items() if reply.status != 200}
    assert refused == {
        "the model", "a model of an agent", "the tool's choice", "an unanswered call", "an unknown part",
        "an unknown role", "an enumeration", "the tier",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["User-Agent", "X-Request-Id", "X-Client-Request-Id", "X-Forwarded-For", "Origin"])
def test_headers_that_are_stored(gateway: Gateway, route: Route, name: str) -> None:
    client = Client(gateway.port, timeout=PATIENCE_SECONDS)
    for value in ("\xff\xfe", "a" * 4000, "'; --", "\t", "\x80"):
        body = route.body("scripted/count-1", stream=False)
        client.send("POST", route.path, key=gateway.key, body=body, headers={name: value})
        reply = client.read_reply()
        assert reply.status == 200
        assert gateway.store.ended(reply.headers["x-request-id"])["status"] == "completed"
