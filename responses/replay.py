"""What a response had said, put together from the events that are kept of its stream.

For one whose process died: nobody has its items in mind any more, and whoever followed it has heard of them.
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from gateway_project.growing_text import GrowingText

from .models import StoredFrames
from .output import OUTPUT_TEXT, RAW_REASONING, REASONING_SUMMARY, REFUSAL, WireEvent

_KINDS = (OUTPUT_TEXT, REFUSAL, REASONING_SUMMARY, *RAW_REASONING.values())
_TEXT_DELTAS = {f"{kind.events}.delta": kind for kind in _KINDS}
_PARTS = {f"{kind.part_events}.{change}": kind for kind in _KINDS for change in ("added", "done")}
_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})
_ARGUMENTS_DELTA = "response.function_call_arguments.delta"


def kept_events(response_id: uuid.UUID, alias: str) -> Iterator[WireEvent]:
    """The events of a stream, as far as they have reached the database `alias` without a gap."""
    batches = StoredFrames.objects.using(alias).filter(response=response_id).order_by("first_number")
    next_number = 0
    for first_number, frames in batches.values_list("first_number", "frames").iterator():
        if first_number != next_number:
            return
        events = frames.split("\n\n")[:-1]
        next_number += len(events)
        for event in events:
            yield json.loads(event.partition("\ndata: ")[2])


def output_after(events: Iterable[WireEvent]) -> list[dict[str, Any]]:
    """The output items as these events leave them, from the stream's first on.

    An item or a part comes whole where it is done, so that only the last one's deltas are needed.
    """
    output: list[dict[str, Any]] = []
    last = _Growing()
    for event in events:
        name = event["type"]
        if name in _ITEMS:
            output[event["output_index"] :] = [event["item"]]
            last = _Growing()
        elif name in _PARTS:
            kind = _PARTS[name]
            output[-1][kind.place][event[kind.index_key] :] = [event["part"]]
            last = _Growing()
        elif name in _TEXT_DELTAS or name == _ARGUMENTS_DELTA:
            last.add(event)
    last.join(output)
    return output


class _Growing:
    """The deltas of a part, or of a call's arguments, that is not done yet."""

    def __init__(self) -> None:
        self._name = ""
        self._text = GrowingText()
        self._logprobs: list[Any] = []

    def add(self, event: WireEvent) -> None:
        self._name = event["type"]
        self._text.add(event["delta"])
        self._logprobs += event.get("logprobs", ())

    def join(self, output: list[dict[str, Any]]) -> None:
        """Put them where they belong: at the end of the last item."""
        if self._name == _ARGUMENTS_DELTA:
            output[-1]["arguments"] = str(self._text)
        elif self._name:
            kind = _TEXT_DELTAS[self._name]
            part = output[-1][kind.place][-1]
            part[kind.text_key] = str(self._text)
            if self._logprobs:
                part["logprobs"] = self._logprobs
