"""A strict reader of a Responses stream: builds the answer from its events and refuses what is out of order.

Source: Open Responses, "Items are streamable" and "Items are state machines".
"""

import json
import re
from typing import Any

Event = dict[str, Any]

_FRAME = re.compile(r"event: ([a-z_.]+)\ndata: (\{[^\n]*\})\n\n")
_PART_OF_DELTA = {
    "response.output_text": ("output_text", "text"),
    "response.refusal": ("refusal", "refusal"),
    "response.reasoning": ("reasoning_text", "text"),
    "response.reasoning_summary_text": ("summary_text", "text"),
}
_LISTS = {"content_part": "content", "reasoning_summary_part": "summary"}
_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def events_of(stream: bytes) -> list[Event]:
    """The events of a whole stream. Every byte must belong to a frame, and ``[DONE]`` must be the last."""
    text = stream.decode()
    assert text.endswith("data: [DONE]\n\n")
    text = text.removesuffix("data: [DONE]\n\n")
    assert _FRAME.sub("", text) == ""
    events: list[Event] = []
    for name, data in _FRAME.findall(text):
        event = json.loads(data)
        assert event["type"] == name
        events.append(event)
    return events


def read(events: list[Event]) -> Event:
    """Follow the events and return the final response, which must be what the events built.

    Raises:
        AssertionError: at the first event that is out of order.
    """
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    middle = _opened(events)
    terminal = middle.pop()
    reader = _Reader()
    for event in middle:
        reader.take(event)
    assert terminal["type"] in _TERMINAL
    response: Event = terminal["response"]
    status = response["status"]
    # OpenAI has no event for a response in the background that its client cancels.
    assert terminal["type"] == ("response.failed" if status == "cancelled" else f"response.{status}")
    assert response["output"] == reader.items
    assert reader.item is None or status in ("failed", "cancelled")
    for item in reader.items[:-1]:
        assert item["status"] == "completed"
    if any(item["status"] == "incomplete" for item in reader.items):
        assert response["status"] == "incomplete"
    return response


def _opened(events: list[Event]) -> list[Event]:
    """The events behind those that open the stream, which all say that there is nothing yet."""
    background = events[0]["response"]["background"]
    opening = ["created", "queued", "in_progress"] if background else ["created", "in_progress"]
    for event, name in zip(events, opening, strict=False):
        assert event["type"] == f"response.{name}"
        assert event["response"]["status"] == ("queued" if background and name != "in_progress" else "in_progress")
        assert (event["response"]["output"], event["response"]["usage"]) == ([], None)
    return events[len(opening) :]


class _Reader:
    def __init__(self) -> None:
        self.items: list[Event] = []
        self.item: Event | None = None
        self.part: Event | None = None

    def take(self, event: Event) -> None:
        _, kind, *rest = event["type"].split(".")
        if kind == "output_item":
            if rest == ["added"]:
                self.added(event)
            else:
                self.done(event)
            return
        assert self.item is not None
        assert (event["item_id"], event["output_index"]) == (self.item["id"], len(self.items) - 1)
        if kind == "function_call_arguments":
            self.arguments(event, rest[0])
        elif kind in _LISTS:
            self.part_event(event, _LISTS[kind], rest[0])
        else:
            self.text(event, rest[0])

    def added(self, event: Event) -> None:
        assert self.item is None, "an item begins before the one before it is done"
        assert event["output_index"] == len(self.items)
        self.item = event["item"]
        self.items.append(self.item)
        assert self.item["status"] == "in_progress"
        assert not any(self.item.get(key) for key in ("content", "summary", "arguments"))

    def done(self, event: Event) -> None:
        assert self.item is not None
        assert self.part is None, "an item is done before its part is"
        assert event["output_index"] == len(self.items) - 1
        assert event["item"]["status"] in ("completed", "incomplete")
        assert event["item"] == {**self.item, "status": event["item"]["status"]}
        self.item["status"] = event["item"]["status"]
        self.item = None

    def part_event(self, event: Event, place: str, step: str) -> None:
        assert self.item is not None
        if step == "added":
            assert self.part is None, "a part begins before the one before it is done"
            self.part = event["part"]
            assert not self.part.get("text") and not self.part.get("refusal")
            self.item[place].append(self.part)
        else:
            assert event["part"] == self.part
            self.part = None
        assert event["summary_index" if place == "summary" else "content_index"] == len(self.item[place]) - 1

    def text(self, event: Event, step: str) -> None:
        assert self.item is not None
        assert self.part is not None, "text outside a part"
        kind, key = _PART_OF_DELTA[event["type"].rpartition(".")[0]]
        assert self.part["type"] == kind
        place, index = ("summary", "summary_index") if kind == "summary_text" else ("content", "content_index")
        assert event[index] == len(self.item[place]) - 1
        if step == "delta":
            self.part[key] += event["delta"]
            if kind == "output_text":
                self.part["logprobs"] += event["logprobs"]
        else:
            assert event[key] == self.part[key]

    def arguments(self, event: Event, step: str) -> None:
        assert self.item is not None
        if step == "delta":
            self.item["arguments"] += event["delta"]
        else:
            assert event["arguments"] == self.item["arguments"]
