"""Where changes go while the queue is full: into a file at once, or nowhere."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway_project.runs.journal.changes import Change
from gateway_project.runs.journal.entry import Entry, JournalUnavailable, Result, resolve
from gateway_project.runs.journal.lines import spillable
from gateway_project.runs.journal.spill import Spill

logger = logging.getLogger("gateway.journal")

Keep = Callable[[Spill, Sequence[Change], JournalUnavailable], list[Result]]


class Overflow:
    """What is younger than the queue. The journal's lock is held by whoever calls.

    Args:
        folder: where its files lie.
        keep: writes changes to a file, or refuses them with the error given. Raises OSError.
    """

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder = folder
        self._spill = Spill(folder)
        self._keep = keep
        self._late: list[Entry] = []  # What the disk refused as well; younger than the file.

    @property
    def pending(self) -> bool:
        """Whether something waits here, so that what comes now must wait behind it."""
        return self._spill.pending or bool(self._late)

    @property
    def in_memory(self) -> int:
        """How many changes the disk did not take."""
        return len(self._late)

    def put(self, entry: Entry) -> None:
        """Bring what must not be lost into safety at once, and refuse the rest."""
        full = JournalUnavailable("too many changes wait for the database")
        if not spillable([entry.change]):
            resolve([entry], [(None, full)])
            return
        self._late.append(entry)
        try:
            results = self._keep(self._spill, [late.change for late in self._late], full)
        except OSError as error:
            logger.error("journal.overflow_failed", extra={"error": str(error)})
            return
        late, self._late = self._late, []
        resolve(late, results)

    def turn_over(self) -> tuple[Spill, list[Entry]]:
        """Give away the file and what is in memory, to be written in this order; begin anew with a younger file."""
        full, self._spill = self._spill, Spill(self._folder)
        late, self._late = self._late, []
        return full, late

    def close(self) -> None:
        """Let go of the file; what may still come goes to a younger one."""
        self._spill.close()
        self._spill = Spill(self._folder)
