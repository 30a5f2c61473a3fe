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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper

from gateway_project.runs.journal.changes import Change, CloseRun, InsertRun, Note, StartRun
from gateway_project.runs.journal.spill import Spill, orphans, spill_folder, spillable
from gateway_project.runs.record import bare_end

logger = logging.getLogger("gateway.journal")

_UNREACHABLE = (OperationalError, InterfaceError)


class JournalUnavailable(Exception):
    """The database did not take a change in time, or too many changes wait for it."""


@dataclass(slots=True)
class _Entry:
    change: Change
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


_Result = tuple[Any, BaseException | None]


class Journal:
    """One writer thread with one database connection.

    While the database is away, what must not be lost goes to the spill file and everything else is refused.
    An end is as good as written when it is there; a start only where `accept_spilled` says so.

    Args:
        alias: the database, as in ``DATABASES``.
        spill: where the spill files lie.
        accept_spilled: whether a run may start whose record is only in the spill file.
        capacity: how many changes may wait.
        batch: how many changes share one commit at most.
        retry_seconds: how long to wait before the database is tried again.
    """

    def __init__(
        self,
        alias: str,
        *,
        spill: Path | None = None,
        accept_spilled: bool = False,
        capacity: int = 100_000,
        batch: int = 500,
        retry_seconds: float = 0.5,
    ) -> None:
        self._alias = alias
        self._spill_folder = spill or spill_folder(None, alias)
        self._spill = Spill(self._spill_folder)
        self._accept_spilled = accept_spilled
        self._capacity = capacity
        self._batch = batch
        self._retry_seconds = retry_seconds
        self._queue: deque[_Entry] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._adopted = False
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
        """Write what waits, then end the thread. Blocking.

        Returns:
            Whether all was written in `timeout` seconds, be it to the spill file.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        return not self._queue

    def _put(self, entry: _Entry) -> None:
        with self._wake:
            self._queue.append(entry)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="gateway-journal", daemon=True)
                self._thread.start()
            self._wake.notify()

    # -- the writer's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                try:
                    self._handle(batch)
                except Exception:
                    # Whatever it is, the next change deserves its chance; these are still in the queue.
                    logger.exception("journal.failed")
                    time.sleep(self._retry_seconds)
        finally:
            self._spill.close()
            connections[self._alias].close()

    def _next_batch(self) -> list[_Entry] | None:
        """Wait for changes, or for the time to try the database again; None when the writer shall stop."""
        with self._wake:
            if not self._queue and not self._stopping:
                self._wake.wait(self._retry_seconds if self._spill.pending else None)
            if not self._queue and self._stopping:
                return None
            return [self._queue[i] for i in range(min(len(self._queue), self._batch))]

    def _handle(self, batch: list[_Entry]) -> None:
        """Commit a batch, or bring it into safety; entries leave the queue only when their fate is known."""
        try:
            if not self._adopted:
                self._adopt_orphans()
            self._replay()
            results = self._write([entry.change for entry in batch]) if batch else []
        except _UNREACHABLE as error:
            self._lost_database(error)
            results = self._spill_batch(batch)
        else:
            self._found_database()
        with self._wake:
            for _ in results:
                self._queue.popleft()
        _resolve(batch[: len(results)], results)

    def _write(self, changes: Sequence[Change]) -> list[_Result]:
        """Commit changes together. If one is at fault, each by itself, so that no other is lost with it."""
        try:
            return [(result, None) for result in self._apply(changes)]
        except _UNREACHABLE:
            raise
        except Exception as error:
            logger.log(
                logging.ERROR if len(changes) == 1 else logging.DEBUG,
                "journal.change_refused",
                exc_info=error,
                extra={"changes": [type(change).__name__ for change in changes]},
            )
            if len(changes) == 1:
                return [self._salvage(changes[0], error)]
        return [self._write([change])[0] for change in changes]

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        connection = connections[self._alias]
        if isinstance(connection, SQLiteWrapper):
            # A transaction that first reads and then writes fails at once when another writer was faster.
            connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]  # new in Django 5.1
        with transaction.atomic(using=self._alias):
            results = [change.apply(connection) for change in changes]
            self.seal(changes)
        return results

    def _salvage(self, change: Change, error: Exception) -> _Result:
        """The database refuses this very change. A run's end is tried once more with the bare minimum."""
        bare = CloseRun(bare_end(change.record)) if isinstance(change, CloseRun) else None
        if bare is None or bare == change:
            return None, error
        return self._write([bare])[0]

    # -- while the database is away -------------------------------------------------------------------

    def _spill_batch(self, batch: Sequence[_Entry]) -> list[_Result]:
        """Bring into safety what must not be lost, and refuse the rest."""
        try:
            if changes := spillable([entry.change for entry in batch]):
                self._spill.append(changes)
        except OSError as error:
            logger.error("journal.spill_failed", extra={"error": str(error)})
            time.sleep(self._retry_seconds)
            return []
        refused: _Result = (None, JournalUnavailable("the database does not answer"))
        kept: _Result = (True, None)
        accepted = (CloseRun, Note, InsertRun, StartRun) if self._accept_spilled else (CloseRun, Note)
        return [kept if isinstance(entry.change, accepted) else refused for entry in batch]

    def _replay(self) -> None:
        """Write what waits in the spill file, in order."""
        while self._spill.pending:
            changes, offset = self._spill.waiting(self._batch)
            self._write(changes)
            self._spill.replayed(offset)

    def _adopt_orphans(self) -> None:
        """Write what dead processes left in theirs."""
        for path, changes in orphans(self._spill_folder):
            logger.warning("journal.adopted", extra={"path": str(path), "changes": len(changes)})
            self._write(changes)
            path.unlink()
        self._adopted = True

    def _lost_database(self, error: Exception) -> None:
        if self.available:
            self.available = False
            logger.error("journal.database_unavailable", extra={"error": str(error)})
        with suppress(Exception):
            connections[self._alias].close()

    def _found_database(self) -> None:
        if not self.available:
            self.available = True
            logger.info("journal.recovered")

    def seal(self, changes: Sequence[Change]) -> None:
        """The place where a committed batch gets its seal. Nothing is sealed yet."""


def _resolve(batch: Sequence[_Entry], results: Sequence[_Result]) -> None:
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


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Mark the exception as seen: the writer has logged it, and not everybody awaits."""
    if not future.cancelled():
        future.exception()
