"""A run's life as a list of what happened, for programs. The admin draws its own from the same columns and notes."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from gateway_project.review.export import iso
from gateway_project.runs.models import Run, RunNote

_MILESTONES = {
    "received_at": "received",
    "started_at": "started",
    "first_output_at": "first_output",
    "abort_requested_at": "abort_requested",
    "settled_at": "settled",
    "finished_at": "finished",
}


class EventDict(TypedDict):
    """What happened when: a milestone of the run, or a note of a kind."""

    at: str
    offset_ms: float
    event: str
    by: str | None
    text: str | None


def events(run: Run, notes: Iterable[RunNote]) -> list[EventDict]:
    """All of it, in order of time."""
    found: list[tuple[datetime, str, str, str]] = []
    for column, name in _MILESTONES.items():
        at: datetime | None = getattr(run, column)
        if at is not None:
            asked = name == "abort_requested"
            by, text = (run.abort_requested_by, run.abort_reason) if asked else ("", "")
            found.append((at, name, by, text))
    found += [(note.at, note.kind, note.by, note.text) for note in notes]
    found.sort(key=lambda event: event[0])
    return [
        {
            "at": iso(at),
            "offset_ms": round((at - run.received_at).total_seconds() * 1000, 3),
            "event": event,
            "by": by or None,
            "text": text or None,
        }
        for at, event, by, text in found
    ]
