"""The journal's writer: takes the changes that wait and commits them in one transaction.

At low load a change is written at once; under load many share a commit. It is never cancelled with a
request: whoever awaits a change may go away, the change stays.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper

from gateway_project.runs.journal.changes import Change

logger = logging.getLogger("gateway.journal")

_UNREACHABLE = (OperationalError, InterfaceError)


class JournalUnavailable(Exception):
    """The database did not take a change in time, or too many changes wait for it."""


@dataclass(slots=True)
class _Entry:
    change: Change
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Journal:
    """One writer thread with one database connection.

    Args:
        alias: the database, as in ``DATABASES``.
        capacity: how many changes may wait while the database is away.
        batch: how many changes share one commit at most.
        retry_seconds: how long to wait before the database is tried again.
    """

    def __init__(self, alias: str, *, capacity: int = 100_000, batch: int = 500, retry_seconds: float = 0.5) -> None:
        self._alias = alias
        self._capacity = capacity
        self._batch = batch
        self._retry_seconds = retry_seconds
        self._queue: deque[_Entry] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.available = True
        """False while the database does not answer."""

    @property
    def waiting(self) -> int:
        """How many changes wait to be committed."""
        return len(self._queue)

    def submit(self, change: Change) -> "asyncio.Future[Any]":
        """Queue a change; the future gets its result once it is committed. Keeps the order of calls.

        Must be called in an event loop. Cancelling the future does not take the change back.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(_retrieve)
        self._put(_Entry(change, future, loop))
        return future

    async def write(self, change: Change, *, within: float) -> Any:
        """Queue a change and wait until it is durable.

        Raises:
            JournalUnavailable: when that takes longer than `within` seconds, or too much waits already.
                The change stays queued: whoever made it must let its end follow.
        """
        if len(self._queue) >= self._capacity:
            raise JournalUnavailable("too many changes wait for the database")
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(self.submit(change))
        except TimeoutError:
            raise JournalUnavailable("the database does not answer") from None

    def stop(self, timeout: float) -> bool:
        """Write what waits, then end the thread. Blocking. Returns whether all was written in `timeout` s."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        return not self._queue

    def _put(self, entry: _Entry) -> None:
        with self._wake:
            self._queue.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gateway-journal", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._commit(batch)
        finally:
            connections[self._alias].close()

    def _next_batch(self) -> list[_Entry] | None:
        """Wait for changes; None when there are none and the writer shall stop."""
        with self._wake:
            while not self._queue:
                if self._stopping:
                    return None
                self._wake.wait()
            return [self._queue[i] for i in range(min(len(self._queue), self._batch))]

    def _commit(self, batch: list[_Entry]) -> None:
        """Commit a batch; entries leave the queue only when their fate is known."""
        try:
            results: list[tuple[Any, BaseException | None]] = [(r, None) for r in self._apply(batch)]
        except _UNREACHABLE as error:
            self._back_off(error)
            return
        except Exception as error:
            if len(batch) > 1:
                # One of them is at fault: find it, so that the others are not lost with it.
                self._commit(batch[:1])
                return
            logger.exception("journal.change_refused", extra={"change": type(batch[0].change).__name__})
            results = [(None, error)]
        if not self.available:
            self.available = True
            logger.info("journal.recovered", extra={"waiting": len(self._queue)})
        with self._wake:
            for _ in batch:
                self._queue.popleft()
        _resolve(batch, results)

    def _apply(self, batch: Sequence[_Entry]) -> list[Any]:
        connection = connections[self._alias]
        if isinstance(connection, SQLiteWrapper):
            # A transaction that first reads and then writes fails at once when another writer was faster.
            connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]  # new in Django 5.1
        with transaction.atomic(using=self._alias):
            results = [entry.change.apply(connection) for entry in batch]
            self.seal([entry.change for entry in batch])
        return results

    def seal(self, changes: Sequence[Change]) -> None:
        """The place where a committed batch gets its seal. Nothing is sealed yet."""

    def _back_off(self, error: Exception) -> None:
        if self.available:
            self.available = False
            logger.error("journal.database_unavailable", extra={"error": str(error)})
        connections[self._alias].close()
        time.sleep(self._retry_seconds)


def _resolve(batch: Sequence[_Entry], results: Sequence[tuple[Any, BaseException | None]]) -> None:
    """Hand the results to the loops, one wake-up a loop and batch."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for entry, (result, error) in zip(batch, results, strict=True):
        by_loop.setdefault(entry.loop, []).append((entry.future, result, error))
    for loop, settled in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple["asyncio.Future[Any]", Any, BaseException | None]]) -> None:
    for future, result, error in settled:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Mark the exception as seen: the writer has logged it, and not everybody awaits."""
    if not future.cancelled():
        future.exception()
