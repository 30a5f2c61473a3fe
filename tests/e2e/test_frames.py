"""Every frame of every stream keeps to the schemas of its protocols, however the answer comes about and ends."""

import re
from typing import Any

import pytest

from tests.e2e.compliance.websocket import Session
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.responses.client import call, respond
from tests.e2e.routes import CHAT, Route
from tests.e2e.wire import Client, Reply, ask
from tests.responses.reader import events_of, read
from tests.spec.frames import chat_faults, event_faults, response_faults

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather in a city.", "parameters": PARAMETERS}

SCENARIOS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "text": ("scripted/count-12", {}, {}),
    "nothing": ("scripted/count-0", {}, {}),
    "a call": (
        "scripted/tool",
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "function", **FUNCTION}]},
    ),
    "reasoning and a call that must be": (
        "scripted/judge",
        {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required", "reasoning_effort": "low"},
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required", "reasoning": {"effort": "low"}},
    ),
    "a summary of reasoning": (
        "scripted/judge",
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high", "summary": "concise"}},
    ),
    "JSON": (
        "scripted/judge",
        {"response_format": {"type": "json_object"}},
        {"text": {"format": {"type": "json_object"}}},
    ),
    "too long": ("scripted/count-50", {"max_completion_tokens": 16}, {"max_output_tokens": 16}),
    "a refusal": ("told/refusal", {}, {}),
    "log probabilities": (
        "told/logprobs",
        {"logprobs": True, "top_logprobs": 1},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 1},
    ),
    "choices that interleave": ("told/choices", {"n": 2}, {}),
    "phases": ("told/phases", {}, {}),
    "reasoning, told again": ("told/reasoning", {}, {}),
    "text and parallel calls": (
        "told/calls",
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "function", **FUNCTION}]},
    ),
    "filtered": ("told/filtered", {}, {}),
    "a call that is too long": (
        "told/call too long",
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "function", **FUNCTION}]},
    ),
    "a failure in mid-stream": ("scripted/fail-after-2", {}, {}),
    "a run that takes too long": ("hasty/slow-3000x20ms", {}, {}),
}
FAILING = ("scripted/fail-after-2", "hasty/slow-3000x20ms")
CUT_SHORT = ("scripted/count-50", "told/choices", "told/filtered", "told/call too long")
scenarios = pytest.mark.parametrize(("model", "chat", "responses"), SCENARIOS.values(), ids=SCENARIOS)
_CHAT_FRAME = re.compile(r"data: (\{[^\n]*\})\n\n")


def check_chat(reply: Reply) -> list[Any]:
    """Hold a whole Chat Completions stream to its framing and its schema; its frames."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    text = reply.body.decode()
    assert text.endswith("data: [DONE]\n\n")
    assert _CHAT_FRAME.sub("", text.removesuffix("data: [DONE]\n\n")) == ""
    frames = reply.events[:-1]
    assert [fault for frame in frames for fault in chat_faults(frame)] == []
    return frames


def check_events(events: list[Any]) -> dict[str, Any]:
    """Hold the events of a Responses stream to order and schemas; the response that they end with."""
    assert [fault for event in events for fault in event_faults(event)] == []
    return read(events)


def events_from(gateway: Gateway, id_: str, after: int = -1) -> list[Any]:
    reply = call(gateway, "GET", f"{id_}?stream=true&starting_after={after}")
    assert reply.status == 200
    return events_of(reply.body)


@pytest.mark.compliance(
    "Chat Completions", "CreateChatCompletionStreamResponse", "data: [DONE]", "error in a stream", "Error"
)
@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no usage"])
@scenarios
def test_of_chat_completions(
    gateway: Gateway, model: str, chat: dict[str, Any], responses: dict[str, Any], usage: bool
) -> None:
    body = CHAT.body(model, stream=True, stream_options={"include_usage": usage}, **chat)
    reply = ask(gateway.port, "POST", CHAT.path, key=gateway.key, body=body)
    frames = check_chat(reply)
    failed = "error" in frames[-1]
    assert failed is (model in FAILING)
    assert ("usage" in frames[0]) is usage
    assert ("prompt_tokens" in (frames[-1].get("usage") or {})) is (usage and not failed)


@pytest.mark.compliance("Open Responses", "Streaming", "data: [DONE]", "sequence_number", "response.incomplete")
@pytest.mark.compliance("Open Responses", "Items are state machines", "response.failed", "ResponseResource")
@pytest.mark.compliance("OpenAI Responses", "ResponseStreamEvent", "Response")
@scenarios
def test_of_responses(gateway: Gateway, model: str, chat: dict[str, Any], responses: dict[str, Any]) -> None:
    final = check_events(events_of(respond(gateway, model, stream=True, **responses).body))
    assert final["status"] == _status(model)
    again = call(gateway, "GET", final["id"])
    assert (again.status, again.json) == (200, final)


@pytest.mark.compliance("Open Responses", "response.queued", "background", "sequence_number", "ResponseResource")
@pytest.mark.compliance("OpenAI Responses", "ResponseStreamEvent", "Response", "background", "starting_after")
@scenarios
def test_of_responses_in_the_background_live_again_and_resumed(
    gateway: Gateway, model: str, chat: dict[str, Any], responses: dict[str, Any]
) -> None:
    events = events_of(respond(gateway, model, stream=True, background=True, **responses).body)
    assert events[1]["type"] == "response.queued"
    assert response_faults(events[1]["response"]) == []
    assert events_from(gateway, events[0]["response"]["id"]) == events
    assert events_from(gateway, events[0]["response"]["id"], 4) == events[5:]
    final = check_events(events)
    assert final["status"] == _status(model)
    assert call(gateway, "GET", final["id"]).json == final


@pytest.mark.compliance("Open Responses", "WebSocket", "Streaming", "sequence_number")
@pytest.mark.parametrize(
    "name", sorted(SCENARIOS.keys() - {"JSON"})
)  # Its file lets no request ask for any JSON object.
def test_of_responses_over_a_websocket(gateway: Gateway, name: str) -> None:
    model, _, fields = SCENARIOS[name]
    with Session(gateway) as session:
        turn = session.create("hello", model=model, **fields)
    assert turn.faults == []
    assert check_events(turn.events)["status"] == _status(model)


def _status(model: str) -> str:
    if model in FAILING:
        return "failed"
    return "incomplete" if model in CUT_SHORT else "completed"


@pytest.mark.compliance("Open Responses", "response.failed")
@pytest.mark.compliance("OpenAI Responses", "Response.status cancelled", "ResponseStreamEvent")
@pytest.mark.parametrize("model", ["scripted/slow-3000x20ms", "narrow/slow-3000x20ms"], ids=["running", "queued"])
def test_of_responses_that_are_cancelled_in_the_background(gateway: Gateway, model: str) -> None:
    holder = _begun(gateway, "narrow/slow-3000x20ms") if model.startswith("narrow") else None
    id_ = _begun(gateway, model)
    if holder is None:
        wait_for(lambda: len(_said(gateway, id_)) > 6, what="some words")
    assert response_faults(call(gateway, "GET", id_).json) == []
    assert call(gateway, "POST", f"{id_}/cancel").json["status"] == "cancelled"
    final = check_events(events_from(gateway, id_))
    assert (final["status"], final["error"]) == ("cancelled", None)
    assert response_faults(final) == []
    if holder is not None:
        call(gateway, "POST", f"{holder}/cancel")


def _begun(gateway: Gateway, model: str) -> str:
    body = respond(gateway, model, background=True).json
    assert response_faults(body) == []
    return str(body["id"])


def _said(gateway: Gateway, id_: str) -> list[Any]:
    sql = "SELECT frames FROM gateway_response_frames WHERE response_id = ? ORDER BY first_number"
    return "".join(row["frames"] for row in gateway.store.query(sql, id_.removeprefix("resp_"))).split("\n\n")


@pytest.mark.compliance("Chat Completions", "error in a stream", "CreateChatCompletionStreamResponse")
@pytest.mark.compliance("Open Responses", "response.failed", "Streaming")
def test_of_runs_that_an_operator_cancels(gateway: Gateway, route: Route) -> None:
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("scripted/slow-3000x20ms", stream=True))
    reply = client.read_head()
    manage("cancelrun", reply.headers["x-request-id"], env=gateway.env)
    reply.body = b"".join(client.read_chunks())
    error = check_chat(reply)[-1]["error"] if route is CHAT else check_events(events_of(reply.body))["error"]
    assert error["code"] == "run_cancelled"
