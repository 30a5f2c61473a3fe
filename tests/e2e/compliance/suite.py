"""A client that is as strict as the suite: what it gets must be what the published schemas say."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests import spec
from tests.e2e.gateway import Gateway
from tests.e2e.wire import Client, Reply, ask

MODEL = "scripted/judge"
Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
_TERMINAL = ("response.completed", "response.failed", "response.incomplete")


def said(role: str, content: Any, **more: Any) -> Json:
    """A message item."""
    return {"type": "message", "role": role, "content": content, **more}


@dataclass
class Turn:
    """What one request brought: its events, what was wrong with them, and how it ended."""

    events: list[Json] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)
    response: Json | None = None
    error_code: str | None = None

    def take(self, event: Json, schema: str) -> None:
        """Add an event."""
        self.events.append(event)
        self.faults += [f"{event.get('type')}: {fault}" for fault in spec.faults(spec.OPEN_RESPONSES, schema, event)]
        if event["type"] in _TERMINAL:
            self.response = event["response"]
        error = event.get("error") if self.response is None else self.response["error"]
        self.error_code = error["code"] if error else None

    @property
    def over(self) -> bool:
        """Whether its last event was seen."""
        return self.response is not None or self.error_code is not None


def completed(response: Json | None) -> Json:
    """Check that `response` is a whole one that completed with some output, and return it."""
    assert response is not None, "no terminal event was seen"
    assert spec.faults(spec.OPEN_RESPONSES, "ResponseResource", response) == []
    assert response["status"] == "completed"
    assert response["output"] != []
    return response


def post(gateway: Gateway, body: Json, path: str = "/v1/responses") -> Reply:
    """The reply to a request."""
    return ask(gateway.port, "POST", path, key=gateway.key, body=body)


def create(gateway: Gateway, given: Any, **fields: Any) -> Json:
    """The completed response to some input."""
    reply = post(gateway, {"model": MODEL, "input": given, "stream": False, **fields})
    assert reply.status == 200, reply.body
    return completed(reply.json)


def stream(gateway: Gateway, given: Any, **fields: Any) -> Turn:
    """The turn that a streamed request brings, each write of the server read for itself."""
    client = Client(gateway.port)
    body = {"model": MODEL, "input": given, "stream": True, **fields}
    client.send("POST", "/v1/responses", key=gateway.key, body=body)
    assert client.read_head().status == 200
    turn = Turn(reads=list(client.read_chunks()))
    for event in events_of(turn.reads):
        turn.take(event, schema_of(event["type"]))
    return turn


def events_of(reads: Iterable[bytes]) -> Iterator[Json]:
    """The events of a stream, as the suite's parser finds them.

    It keeps a half-read line, but forgets the lines of a half-read event: one whose data and empty line come in
    two reads is lost. Lines that are neither ``event``, ``data`` nor empty, such as comments, are skipped.
    """
    half_line = ""
    for read in reads:
        *lines, half_line = (half_line + read.decode()).split("\n")
        data = ""
        for line in lines:
            if line.startswith("data:"):
                data = line[5:].strip()
            elif line == "" and data:
                if data != "[DONE]":
                    yield json.loads(data)
                data = ""


@cache
def _schemas() -> dict[str, str]:
    named = spec.schemas(spec.OPEN_RESPONSES).items()
    return {schema["properties"]["type"]["enum"][0]: name for name, schema in named if name.endswith("StreamingEvent")}


def schema_of(event_type: str) -> str:
    """The name of an event's schema. The suite refuses types that it does not know."""
    assert event_type in _schemas(), f"{event_type} is no event"
    return _schemas()[event_type]
