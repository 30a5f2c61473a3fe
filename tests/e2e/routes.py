"""The routes under test. A new route joins every suite by standing in `ROUTES`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Route:
    """How to ask for agent work by one route, and how to read its answer."""

    name: str
    path: str
    prompt_field: str

    def body(self, model: str, *, stream: bool, prompt: str = "hello", **more: Any) -> dict[str, Any]:
        """A request for `model`."""
        prompt_value: Any = prompt if self.prompt_field == "input" else [{"role": "user", "content": prompt}]
        return {"model": model, "stream": stream, self.prompt_field: prompt_value, **more}

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


CHAT = Route("chat", "/v1/chat/completions", "messages")
RESPONSES = Route("responses", "/v1/responses", "input")

ROUTES = (CHAT, RESPONSES)
