"""The items of an answer while they grow: each says with events what happens to it. No I/O.

Source: Open Responses, "Items are state machines" and "Items are streamable". An item is ``in_progress``,
then once ``completed`` or ``incomplete``; afterwards nothing touches it.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway_project import ids
from gateway_project.agents.events import Phase, TokenLogprob
from gateway_project.growing_text import GrowingText

from .dialect import Dialect

WireEvent = dict[str, Any]
"""An event as it goes out, but for its ``sequence_number``."""

ItemStatus = Literal["in_progress", "completed", "incomplete"]


@dataclass(frozen=True, slots=True)
class PartKind:
    """A kind of streamed text. `text_key` and `place` are keys of the part and of its item."""

    type: str
    text_key: Literal["text", "refusal"]
    events: str
    part_events: str
    index_key: Literal["content_index", "summary_index"]
    place: Literal["content", "summary"]


OUTPUT_TEXT = PartKind(
    "output_text", "text", "response.output_text", "response.content_part", "content_index", "content"
)
REFUSAL = PartKind("refusal", "refusal", "response.refusal", "response.content_part", "content_index", "content")
RAW_REASONING = {
    dialect: PartKind("reasoning_text", "text", dialect.value, "response.content_part", "content_index", "content")
    for dialect in Dialect
}
REASONING_SUMMARY = PartKind(
    "summary_text",
    "text",
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary_index",
    "summary",
)


def logprobs_object(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """A list of ``LogProb``: tokens with their alternatives."""
    return [{**_token(token), "top_logprobs": [_token(alternative) for alternative in token.top]} for token in tokens]


def _token(token: TokenLogprob) -> dict[str, Any]:
    """The schema has no null for unknown bytes; then they are those of the token's text."""
    data = token.bytes if token.bytes is not None else token.token.encode("utf-8", "replace")
    return {"token": token.token, "logprob": token.sayable_logprob, "bytes": list(data)}


class Part:
    """One part of an item's text."""

    def __init__(self, kind: PartKind, index: int) -> None:
        self.kind = kind
        self.index = index
        self.text = GrowingText()
        self.logprobs: list[dict[str, Any]] = []

    def as_object(self) -> dict[str, Any]:
        """The part as it stands in its item."""
        part: dict[str, Any] = {"type": self.kind.type, self.kind.text_key: str(self.text)}
        if self.kind is OUTPUT_TEXT:
            part |= {"annotations": [], "logprobs": list(self.logprobs)}
        return part


class OutputItem(ABC):
    """One item of the answer, from ``added`` to ``done``."""

    id_prefix: str

    def __init__(self, run_id: uuid.UUID, output_index: int) -> None:
        self.id = ids.item_id(self.id_prefix, run_id, output_index)
        self.output_index = output_index
        self.status: ItemStatus = "in_progress"

    @abstractmethod
    def as_object(self) -> dict[str, Any]:
        """The item as it stands in the response's output."""

    @abstractmethod
    def finish_content(self) -> list[WireEvent]:
        """End what is open inside the item."""

    def open(self) -> list[WireEvent]:
        """The item exists."""
        return [self._item_event("response.output_item.added")]

    def close(self, status: ItemStatus) -> list[WireEvent]:
        """The item is done; nothing may be added to it."""
        events = self.finish_content()
        self.status = status
        return [*events, self._item_event("response.output_item.done")]

    def _item_event(self, name: str) -> WireEvent:
        return {"type": name, "output_index": self.output_index, "item": self.as_object()}

    def _event(self, name: str, /, **values: Any) -> WireEvent:
        return {"type": name, "item_id": self.id, "output_index": self.output_index, **values}


class PartedItem(OutputItem):
    """An item made of parts of text, one after the other."""

    def __init__(self, run_id: uuid.UUID, output_index: int) -> None:
        super().__init__(run_id, output_index)
        self._parts: list[Part] = []
        self._open_part: Part | None = None

    def delta(self, kind: PartKind, text: str, logprobs: Sequence[TokenLogprob] = ()) -> list[WireEvent]:
        """More text; of another kind than before it begins a new part."""
        events: list[WireEvent] = []
        part = self._open_part
        if part is None or part.kind is not kind:
            events += self.finish_content()
            part = self._open_part = Part(kind, sum(earlier.kind.place == kind.place for earlier in self._parts))
            self._parts.append(part)
            events.append(self._part_event(part, f"{kind.part_events}.added", part=part.as_object()))
        part.text.add(text)
        delta: dict[str, Any] = {"delta": text}
        if kind is OUTPUT_TEXT:
            delta["logprobs"] = logprobs_object(logprobs)
            part.logprobs += delta["logprobs"]
        return [*events, self._part_event(part, f"{kind.events}.delta", **delta)]

    @property
    def open_text(self) -> Part | None:
        """The part that more of the answer's text is added to, if it is open."""
        part = self._open_part
        return part if part is not None and part.kind is OUTPUT_TEXT else None

    def finish_content(self) -> list[WireEvent]:
        """The open part is whole."""
        part, self._open_part = self._open_part, None
        if part is None:
            return []
        done: dict[str, Any] = {part.kind.text_key: str(part.text)}
        if part.kind is OUTPUT_TEXT:
            done["logprobs"] = list(part.logprobs)
        return [
            self._part_event(part, f"{part.kind.events}.done", **done),
            self._part_event(part, f"{part.kind.part_events}.done", part=part.as_object()),
        ]

    def _parts_in(self, place: str) -> list[dict[str, Any]]:
        return [part.as_object() for part in self._parts if part.kind.place == place]

    def _part_event(self, part: Part, name: str, /, **values: Any) -> WireEvent:
        return self._event(name, **{part.kind.index_key: part.index}, **values)


class MessageItem(PartedItem):
    """What the agent says to the user."""

    id_prefix = "msg"

    def __init__(self, run_id: uuid.UUID, output_index: int, phase: Phase | None) -> None:
        super().__init__(run_id, output_index)
        self._phase = phase

    def as_object(self) -> dict[str, Any]:
        """A ``message``; its phase only when the agent named one."""
        item = {
            "type": "message",
            "id": self.id,
            "status": self.status,
            "role": "assistant",
            "content": self._parts_in("content"),
        }
        return item if self._phase is None else {**item, "phase": self._phase}


class ReasoningItem(PartedItem):
    """How the agent came to it: raw in `content`, told again in `summary`."""

    id_prefix = "rs"

    def as_object(self) -> dict[str, Any]:
        """A ``reasoning`` item."""
        return {
            "type": "reasoning",
            "id": self.id,
            "status": self.status,
            "summary": self._parts_in("summary"),
            "content": self._parts_in("content"),
        }


class FunctionCallItem(OutputItem):
    """A call that the client is asked to make. `index` is the agent's number of a call that comes in pieces."""

    id_prefix = "fc"

    def __init__(
        self, run_id: uuid.UUID, output_index: int, call_id: str, name: str, *, index: int | None = None
    ) -> None:
        super().__init__(run_id, output_index)
        self.index = index
        self._call_id = call_id
        self._name = name
        self._arguments = GrowingText()

    def delta(self, arguments: str) -> list[WireEvent]:
        """More of the arguments; nothing for an empty piece."""
        if not arguments:
            return []
        self._arguments.add(arguments)
        return [self._event("response.function_call_arguments.delta", delta=arguments)]

    def finish_content(self) -> list[WireEvent]:
        """The arguments are whole."""
        arguments = str(self._arguments)
        return [self._event("response.function_call_arguments.done", name=self._name, arguments=arguments)]

    def as_object(self) -> dict[str, Any]:
        """A ``function_call``."""
        return {
            "type": "function_call",
            "id": self.id,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": str(self._arguments),
            "status": self.status,
        }
