"""How runs are written: one writer a process, with its own thread and connection, committing in groups."""

from gateway_project.runs.journal.changes import Change, CloseRun, InsertRun, Note, Query, StartRun
from gateway_project.runs.journal.writer import Journal, JournalUnavailable

__all__ = ["Change", "CloseRun", "InsertRun", "Journal", "JournalUnavailable", "Note", "Query", "StartRun"]
