"""Requests of clients too heavy to run here: of the Codex CLI as it sent them, of Open WebUI as its source makes them.

Long texts of their makers are cut to their first words. The model is ``judge``, which calls the first tool.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway
from tests.e2e.routes import ROUTES
from tests.e2e.wire import Reply, ask
from tests.responses.reader import events_of, read

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]
RECORDED = Path(__file__).resolve().parent / "recorded"
LAST = "Say more."


def _recorded(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return request


def _replay(gateway: Gateway, name: str) -> Reply:
    request = _recorded(name)
    headers = {**request["headers"], "Content-Type": "application/json"}
    return ask(gateway.port, "POST", request["path"], key=gateway.key, body=request["body"], headers=headers)


def _text(name: str, reply: Reply) -> str:
    """The answer's text, however it came."""
    request = _recorded(name)
    route = next(route for route in ROUTES if route.path == request["path"])
    assert reply.status == 200, reply.body
    return route.streamed_text(reply.events) if request["body"]["stream"] else route.text(reply.json)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("codex_tool_result", "The tool said: Process exited with code 0\nOutput:\nhello\n"),
        ("open_webui_chat", f"You said: {LAST}"),
        ("open_webui_title", "You said: ### Task: make a title."),
        ("open_webui_tool_result", "The tool said: sunny in Paris"),
        ("open_webui_responses", f"You said: {LAST}"),
        ("open_webui_responses_tool_result", "The tool said: sunny in Paris"),
    ],
)
def test_it_is_answered(gateway: Gateway, name: str, said: str) -> None:
    assert _text(name, _replay(gateway, name)) == said


@pytest.mark.parametrize("name", ["open_webui_image", "open_webui_responses_image"])
def test_its_image_is_seen(gateway: Gateway, name: str) -> None:
    assert "1 image" in _text(name, _replay(gateway, name))


def test_codex_gets_a_call_of_its_shell_in_a_stream_that_keeps_all_rules(gateway: Gateway) -> None:
    reply = _replay(gateway, "codex_turn")
    response = read(events_of(reply.body))
    [call] = response["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "exec_command",
        {"cmd": "text"},
    )
    assert {"input_tokens", "output_tokens", "total_tokens"} <= response["usage"].keys()
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert row["client_request_id"] == _recorded("codex_turn")["headers"]["x-client-request-id"]


def test_codex_is_answered_with_the_tools_it_has_by_default(gateway: Gateway) -> None:
    reply = _replay(gateway, "codex_default_tools")
    assert reply.status == 200, reply.body
    [call] = read(events_of(reply.body))["output"]
    assert call["name"] == "exec_command"


def test_open_webui_gets_a_call_and_the_usage_in_a_chat_stream(gateway: Gateway) -> None:
    events = _replay(gateway, "open_webui_tools").events
    assert events[-1] == "[DONE]"
    *chunks, usage = events[:-1]
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "get_weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"location": "text"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 2)
