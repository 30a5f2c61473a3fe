"""How runs are written: one writer a process, with its own thread and connection, committing in groups."""

from gateway_project.runs.journal.changes import (
    BulkChange,
    CallAgent,
    Change,
    CloseRun,
    InsertRun,
    Note,
    Query,
    StartRun,
)
from gateway_project.runs.journal.entry import JournalUnavailable, LeaseLost
from gateway_project.runs.journal.lines import spilled
from gateway_project.runs.journal.writer import Journal

__all__ = [
    "BulkChange",
    "CallAgent",
    "Change",
    "CloseRun",
    "InsertRun",
    "Journal",
    "JournalUnavailable",
    "LeaseLost",
    "Note",
    "Query",
    "StartRun",
    "spilled",
]
