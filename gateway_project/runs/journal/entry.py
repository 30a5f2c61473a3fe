"""A change that waits, whoever waits for it, and how the result gets to him."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from gateway_project.runs.journal.changes import Change


class JournalUnavailable(Exception):
    """The database did not take a change in time, or too many changes wait for it."""


class LeaseLost(JournalUnavailable):
    """A run must not start: others have taken its worker for dead, and would close it while it lives."""


Result = tuple[Any, BaseException | None]
"""What became of a change: its result, or the error."""


@dataclass(slots=True)
class Entry:
    """A change in the queue."""

    change: Change
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop

    @classmethod
    def of(cls, change: Change) -> Self:
        """One for whoever runs in the current event loop."""
        loop = asyncio.get_running_loop()
        return cls(change, loop.create_future(), loop)

    def give_up(self) -> None:
        """Tell whoever waits that he has waited long enough. The change stays."""
        if not self.future.done():
            self.future.set_exception(JournalUnavailable("the database does not answer"))


def resolve(batch: Sequence[Entry], results: Sequence[Result]) -> None:
    """Hand the results to the loops, one wake-up a loop and batch."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for entry, (result, error) in zip(batch, results, strict=True):
        by_loop.setdefault(entry.loop, []).append((entry.future, result, error))
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple["asyncio.Future[Any]", Any, BaseException | None]]) -> None:
    for future, result, error in settled:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # Seen: the writer has logged it, and not everybody awaits.
