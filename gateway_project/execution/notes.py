"""What is noted beside a run's columns, while it runs."""

import uuid
from collections.abc import Callable

from gateway_project import clock
from gateway_project.agents.events import ToolActivity
from gateway_project.runs.journal import Change, Note
from gateway_project.runs.record import NoteRecord
from gateway_project.runs.vocabulary import NoteKind

_MOST_TOOL_NOTES = 200


class RunNotes:
    """The notes of one run.

    Args:
        submit: queues a change for the journal.
    """

    def __init__(self, submit: Callable[[Change], object], run_id: uuid.UUID) -> None:
        self._submit = submit
        self._run_id = run_id
        self._tools = 0

    def add(self, kind: NoteKind, text: str, *, by: str = "") -> None:
        """Note something, now."""
        self._submit(Note(NoteRecord(run_id=self._run_id, at=clock.now(), kind=kind, by=by, text=text)))

    def call_dropped(self, name: str) -> None:
        """The agent asked for a call that the request does not permit; the client never saw it."""
        self._add_of_tools(NoteKind.CALL_DROPPED, name)

    def tool(self, event: ToolActivity) -> None:
        """What the agent does with its own tools."""
        self._add_of_tools(NoteKind.TOOL, f"{event.name} {event.state} {event.detail}".rstrip())

    def _add_of_tools(self, kind: NoteKind, text: str) -> None:
        """Of a very busy agent not everything."""
        self._tools += 1
        if self._tools < _MOST_TOOL_NOTES:
            self.add(kind, text)
        elif self._tools == _MOST_TOOL_NOTES:
            self.add(kind, "and more, which are not noted")
