"""The routes under test. A new route joins the suite of aborts by standing in `ABORTABLE`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from tests.e2e.gateway import Gateway
from tests.e2e.socket_wire import SocketClient
from tests.e2e.wire import Client, Leaving


@dataclass(frozen=True)
class Route:
    """How to ask for agent work by one route, how to read its answer, and how to leave."""

    name: str
    path: str
    prompt_field: str
    modes: tuple[bool, ...] = (True, False)
    """Whether it can be asked for streams, and for answers in one piece."""
    ways: tuple[Leaving, ...] = get_args(Leaving)
    """How its client can go away."""

    def open(self, gateway: Gateway, model: str, *, stream: bool, name: str, prompt: str = "hello") -> Client:
        """Ask on a connection of its own, as the client's request `name`. Other transports than HTTP override it."""
        client = Client(gateway.port)
        body = self.body(model, stream=stream, prompt=prompt)
        client.send("POST", self.path, key=gateway.key, body=body, headers={"X-Client-Request-Id": name})
        return client

    def body(self, model: str, *, stream: bool, prompt: str = "hello", **more: Any) -> dict[str, Any]:
        """A request for `model`."""
        prompt_value: Any = prompt if self.prompt_field == "input" else [{"role": "user", "content": prompt}]
        return {"model": model, "stream": stream, self.prompt_field: prompt_value, **more}

    def tool(self, name: str) -> dict[str, Any]:
        """A function as a tool of this route."""
        function = {"name": name, "parameters": {"type": "object"}}
        flat = self.prompt_field == "input"
        return {"type": "function", **function} if flat else {"type": "function", "function": function}

    def text(self, answer: Mapping[str, Any]) -> str:
        """The text of a whole answer."""
        if self.prompt_field == "input":
            return "".join(part["text"] for item in answer["output"] for part in item.get("content", ()))
        return str(answer["choices"][0]["message"]["content"])

    def streamed_text(self, events: list[Any]) -> str:
        """The text of a stream's events."""
        if self.prompt_field == "input":
            return "".join(e["delta"] for e in events if e != "[DONE]" and e["type"] == "response.output_text.delta")
        deltas = [e["choices"][0]["delta"] for e in events if e != "[DONE]" and e.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)

    def stream_error(self, events: list[Any]) -> dict[str, Any] | None:
        """The error that ended a stream, if one did."""
        for event in events:
            if event == "[DONE]":
                continue
            if self.prompt_field == "input" and event["type"] == "response.failed":
                return dict(event["response"]["error"])
            if self.prompt_field != "input" and "error" in event:
                return dict(event["error"])
        return None


class SocketRoute(Route):
    """The same over a WebSocket, where every answer is a stream."""

    def open(self, gateway: Gateway, model: str, *, stream: bool, name: str, prompt: str = "hello") -> Client:
        """Ask on a socket of its own."""
        client = SocketClient(gateway.port, key=gateway.key, headers={"X-Client-Request-Id": name})
        client.create(model, input=prompt)
        return client


CHAT = Route("chat", "/v1/chat/completions", "messages")
RESPONSES = Route("responses", "/v1/responses", "input")

COMPACT = Route("compact", "/v1/responses/compact", "input", modes=(False,))
WEBSOCKET = SocketRoute("websocket", "/v1/responses", "input", modes=(True,))

ROUTES = (CHAT, RESPONSES)
"""The two endpoints, for what holds for both in every way."""
ABORTABLE = (*ROUTES, COMPACT, WEBSOCKET)
"""Every route whose agent must not outlive its client."""
