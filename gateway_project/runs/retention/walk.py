"""Walks of commands that remove: a batch after the other through a journal of their own, beside serving processes."""

import signal
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.journal import Change, Journal, JournalUnavailable
from gateway_project.runs.journal.spill import spill_folder
from gateway_project.runs.progress_bar import ProgressBar
from gateway_project.runs.retention.belongings import Place
from gateway_project.runs.retention.pages import Page

_WITHIN_SECONDS = 120.0
_TRY_FOR_SECONDS = 60.0
_TRY_EVERY_SECONDS = 0.5
_LEAST_PAUSE_SECONDS = 0.1
"""SQLite's own way of waiting for its turn looks as seldom as that."""

STOPPED = 130
"""As a shell says of what Ctrl-C has ended."""

Write = Callable[[Change], Any]


def batch_size(text: str) -> int:
    """An argument: how many runs a transaction takes."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError("must be a whole number from 1 to 10000.")
    return int(text)


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@contextmanager
def writing() -> Iterator[Write]:
    """A way to write through a journal and wait until it is durable, for as long as the context lasts."""
    settings = gateway_settings()
    journal = Journal(settings.DATABASE, spill=spill_folder(settings.SPILL_DIR, settings.DATABASE))

    def write(change: Change) -> Any:
        """Write, and try again for a while: on SQLite others may be faster for longer than it waits.

        Raises:
            CommandError: when the database takes nothing for a minute, or not this.
        """
        until = clock.monotonic() + _TRY_FOR_SECONDS
        while True:
            try:
                return async_to_sync(journal.write)(change, within=_WITHIN_SECONDS)
            except (JournalUnavailable, DatabaseError) as error:
                if not isinstance(error, JournalUnavailable) or clock.monotonic() > until:
                    reason = str(error.__cause__ or error).strip()
                    raise CommandError(f"Stopped: the database does not take it: {reason}") from error
            time.sleep(_TRY_EVERY_SECONDS)

    try:
        yield write
    finally:
        journal.stop(_WITHIN_SECONDS)


def walk(write: Write, page: Callable[[Place | None], Change], *, total: int, tell: Callable[[int], None]) -> None:
    """Remove page after page, with a progress bar, and tell how many runs that was, also when somebody stops it.

    Ctrl-C or SIGTERM stops it behind the page that is under way; once more, at once.

    Args:
        page: the change that removes what follows a place; None for the first.
        total: about how many runs there are.

    Raises:
        CommandError: when it was stopped.
    """
    progress, done = ProgressBar(sys.stderr, total), 0
    try:
        with _stopping() as stop:
            for rows in _pages(write, page, stop):
                done += rows
                progress.show(done)
            if stop.asked:
                raise CommandError("Stopped. The next start goes on.", returncode=STOPPED)
    finally:
        progress.close()
        tell(done)


class _Stop:
    """Whether it was asked for. No `threading.Event`: a signal's handler must not wait for a lock."""

    asked = False


@contextmanager
def _stopping() -> Iterator["_Stop"]:
    """Know when somebody wants the command to end.

    An exception in the middle, as Ctrl-C else is, may come where Python swallows it: in a callback of an event loop.
    """
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pages(write: Write, page: Callable[[Place | None], Change], stop: "_Stop") -> Iterator[int]:
    """Remove page after page until there is no more, or somebody stops it; yields what each removed.

    On SQLite, which has one writer at a time, each page is followed by a pause as long as itself.
    """
    alone = connections[gateway_settings().DATABASE].vendor == "sqlite"
    after: Place | None = None
    while True:
        began = clock.monotonic()
        done = write(page(after))
        assert isinstance(done, Page)
        yield done.rows
        if done.last is None or stop.asked:
            return
        after = done.last
        if alone:
            time.sleep(max(_LEAST_PAUSE_SECONDS, clock.monotonic() - began))
