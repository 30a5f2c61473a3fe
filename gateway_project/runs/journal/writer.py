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
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper

from gateway_project.runs.journal.changes import (
    Change,
    CloseRun,
    InsertRun,
    StartRun,
    apply_changes,
    begin_at_once,
    starting_worker,
)
from gateway_project.runs.journal.entry import Entry, JournalUnavailable, LeaseLost, Result, resolve
from gateway_project.runs.journal.lines import spillable
from gateway_project.runs.journal.overflow import Overflow
from gateway_project.runs.journal.spill import Spill, elsewhere, orphans, spill_folder
from gateway_project.runs.lease import HoldLease, Sweep
from gateway_project.runs.seals.chain import ChainWriter

logger = logging.getLogger("gateway.journal")

_MANY = 3
"""Changes in a batch that tell that others will follow at once: a single client's come one or two at a time."""
_GATHER_SECONDS = 0.004
"""How long the next batch then gathers: a commit costs as much as the records of several runs."""
_UNREACHABLE = (OperationalError, InterfaceError)
_IN_THE_WAY = ("40", "55P03", "57014")
"""How the SQLSTATE of a transaction begins that was in another's way, or waited too long for one (PostgreSQL,
appendix A: rollback with deadlock and serialization, lock not available, query canceled). The database is there."""
_NOT_NOW = ("25006", "25P03", "25P04")
"""The SQLSTATE with which a database refuses whatever is to be written, without a word on what that is: it may only be
read (a standby after a failover, a provider's full disk), or our transaction took it too long."""
_ATTEMPTS = 3
"""After so many such errors in a row the database counts as away."""


class Journal:
    """One writer thread with one database connection.

    While the database is away, what must not be lost goes to the spill file and everything else is refused.
    An end is as good as written when it is there; a start only where `accept_spilled` says so.

    Args:
        alias: the database, as in ``DATABASES``.
        spill: where the spill files lie.
        accept_spilled: whether a run may start whose record is only in the spill file.
        lease_seconds: a worker's lease: runs start only while it holds, and renew it where it has lapsed.
        capacity: how many changes may wait in memory.
        batch: how many changes share one commit at most.
        retry_seconds: how long to wait before the database is tried again.
    """

    def __init__(
        self,
        alias: str,
        *,
        spill: Path | None = None,
        accept_spilled: bool = False,
        lease_seconds: float | None = None,
        capacity: int = 100_000,
        batch: int = 500,
        retry_seconds: float = 0.5,
    ) -> None:
        self._alias = alias
        self._spill_folder = spill or spill_folder(None, alias)
        self._spill = Spill(self._spill_folder)  # older than the queue
        self._overflow = Overflow(self._spill_folder, self._keep)  # younger than the queue, and so made later
        self._accept_spilled = accept_spilled
        self._lease_seconds = lease_seconds
        self._capacity = capacity
        self._batch = batch
        self._retry_seconds = retry_seconds
        self._left: Spill | None = None  # The queue, where the process ends before it is written. Locked until then.
        self._chain = ChainWriter()
        self._queue: deque[Entry] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._last_batch = 0
        self._shall_adopt = True
        self._thread: threading.Thread | None = None
        self.available = True
        """False while the database does not answer."""
        self.adopted = 0
        """How many records of dead processes this journal has written."""

    @property
    def waiting(self) -> int:
        """How many changes wait to be committed."""
        return len(self._queue) + self._overflow.in_memory

    def submit(self, change: Change) -> "asyncio.Future[Any]":
        """Queue a change; the future gets its result once it is committed. Keeps the order of calls.

        Must be called in an event loop. Cancelling the future does not take the change back.

        When `capacity` changes wait (the database hangs, or is far too slow) nothing more is queued: what must not
        be lost is written to a file at once, synced, by the calling thread, which slows the callers down; a start is
        refused, unless `accept_spilled` says otherwise; what only asks is refused. So it goes on until the queue is
        empty and the file is written to the database. Where the disk refuses as well, it stays in memory: an end
        is not given up for the bound.
        """
        entry = Entry.of(change)
        self._put(entry)
        return entry.future

    async def write(self, change: Change, *, within: float) -> Any:
        """Queue a change and wait until it is durable.

        Raises:
            JournalUnavailable: when that takes longer than `within` seconds, or too much waits already.
                A run's record is kept all the same: whoever made it must let its end follow.
            LeaseLost: when a run would start of a worker that others take for dead. Its record is kept too.
        """
        entry = Entry.of(change)
        self._put(entry)
        timer = entry.loop.call_later(within, entry.give_up)
        try:
            return await entry.future
        finally:
            timer.cancel()
            del entry  # An error of the future's knows this frame.

    def stop(self, timeout: float) -> bool:
        """Write what waits, then end the thread. Blocking. Whatever is submitted later starts a new one.

        Returns:
            Whether all was written in `timeout` seconds, be it to a spill file.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                return self._leave_behind()
        return not self.waiting

    def _put(self, entry: Entry) -> None:
        with self._wake:
            if self._overflow.pending or len(self._queue) >= self._capacity:
                self._overflow.put(entry)
            else:
                self._queue.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gateway-journal", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _leave_behind(self) -> bool:
        """The database hangs, and the process ends: bring what waits into a file for the next one. Whether all is.

        Should the thread write it after all, no harm is done: what is written twice counts once.
        """
        with self._wake:
            changes = [entry.change for entry in self._queue]
            self._left = Spill(self._spill_folder, behind=self._spill)
        try:
            self._keep(self._left, changes, JournalUnavailable("the process ends"))
        except OSError as error:
            logger.error("journal.spill_failed", extra={"error": str(error)})
            return False
        return not self._overflow.in_memory

    # -- the writer's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_over():
                try:
                    self._write_queue()
                finally:
                    self._spill.close()
                    connections[self._alias].close()
        except BaseException:
            self._thread = None
            raise

    def _is_over(self) -> bool:
        """Whether nothing waits for a thread that was told to stop; if so it counts as ended from here on."""
        with self._wake:
            over = self._stopping and not self._queue
            if over:
                # What is submitted from now on is younger than what either of the two has left.
                self._spill = Spill(self._spill_folder)
                self._overflow.close()
                self._thread = None
        return over

    def _write_queue(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._handle(batch)
            except Exception:
                # Whatever it is, the next change deserves its chance; these are still in the queue.
                logger.exception("journal.failed")
                time.sleep(self._retry_seconds)

    def _next_batch(self) -> list[Entry] | None:
        """Wait for changes, or for the time to try the database again; None when the writer shall stop."""
        with self._wake:
            if self._turn_over():
                return []
            if not self._queue and not self._stopping:
                self._wake.wait(self._retry_seconds if self._spill.pending else None)
            if not self._queue and self._stopping:
                return None
        if self._last_batch >= _MANY and not self._stopping:
            time.sleep(_GATHER_SECONDS)
        with self._wake:
            self._last_batch = min(len(self._queue), self._batch)
            return [self._queue[i] for i in range(self._last_batch)]

    def _turn_over(self) -> bool:
        """Go on with what was put aside, once all that was queued before it is written. The caller holds the lock."""
        if not self._overflow.pending or self._queue or self._spill.pending:
            return False
        self._spill, late = self._overflow.turn_over()
        self._queue.extend(late)
        return True

    def _handle(self, batch: list[Entry]) -> None:
        """Commit a batch, or bring it into safety; entries leave the queue only when their fate is known."""
        try:
            if self._shall_adopt or any(isinstance(entry.change, Sweep) for entry in batch):
                self._adopt_orphans()
            self._replay()
            _prepare(batch)
            results = self._write([entry.change for entry in batch], live=True) if batch else []
        except _UNREACHABLE as error:
            self._lost_database(error)
            results = self._spill_batch(batch, error)
        else:
            self._found_database()
        with self._wake:
            for _ in results:
                self._queue.popleft()
        resolve(batch[: len(results)], results)

    def _write(self, changes: Sequence[Change], *, live: bool = False) -> list[Result]:
        """Commit changes together. If one is at fault, each by itself, so that no other is lost with it.

        Args:
            live: whether runs start with them now. What comes out of a file is history.
        """
        try:
            return self._commit_again(changes, live=live)
        except _UNREACHABLE:
            raise
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one change, the writer goes on)
            if len(changes) == 1:
                _log_refused(changes[0], error)
                return [self._salvage(changes[0], error)]
        return [self._write([change], live=live)[0] for change in changes]

    def _commit_again(self, changes: Sequence[Change], *, live: bool) -> list[Result]:
        """Commit changes, more than once where only another transaction is in the way, or a connection was lost."""
        connection = connections[self._alias]
        before = connection.connection
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._commit(changes, live=live)
            except _UNREACHABLE as error:
                state = _sqlstate(error)
                # Django may have replaced a lost one already.
                if before is not None and (connection.connection is not before or not connection.is_usable()):
                    before = None  # The database may have been restarted since it was made. Once is enough.
                    self._hang_up()
                elif not state.startswith(_IN_THE_WAY):
                    raise
                logger.warning("journal.tried_again", extra={"sqlstate": state})
        return self._commit(changes, live=live)

    def _hang_up(self) -> None:
        with suppress(Exception):
            connections[self._alias].close()

    def _commit(self, changes: Sequence[Change], *, live: bool) -> list[Result]:
        """Apply changes; a start counts only if its worker's lease holds until it is committed."""
        try:
            return self._commit_at_once(changes, live=live)
        except InternalError as error:
            if _sqlstate(error) in _NOT_NOW:
                raise OperationalError(*error.args) from error.__cause__
            raise

    def _commit_at_once(self, changes: Sequence[Change], *, live: bool) -> list[Result]:
        leases: list[HoldLease] = []
        if live and self._lease_seconds is not None:
            if begin_at_once(changes, connections[self._alias]):
                return [(None, None)] * len(changes)
            workers = {worker for change in changes if (worker := starting_worker(change)) is not None}
            # In front: a sweeper, too, locks the worker before its runs.
            leases = [HoldLease(worker, self._lease_seconds) for worker in sorted(workers)]
        results = self._apply([*leases, *changes])
        lost = {lease.worker for lease, held in zip(leases, results, strict=False) if not held}
        refused = LeaseLost("others take this process for dead")
        return [
            (None, refused) if starting_worker(change) in lost else (result, None)
            for change, result in zip(changes, results[len(leases) :], strict=True)
        ]

    def _apply(self, changes: Sequence[Change]) -> list[Any]:
        connection = connections[self._alias]
        if isinstance(connection, SQLiteWrapper):
            # A transaction that first reads and then writes fails at once when another writer was faster.
            connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]  # new in Django 5.1
        elif connection.vendor == "postgresql":
            _read_committed(connection)
        with self._chain.transaction(connection):
            return apply_changes(changes, connection)

    def _salvage(self, change: Change, error: Exception) -> Result:
        """The database refuses this very change. A run's end is tried once more with the bare minimum."""
        if isinstance(change, CloseRun) and (bare := change.bare()) != change:
            return self._write([bare])[0]
        is_of_run = isinstance(change, InsertRun | StartRun | CloseRun)
        if is_of_run and isinstance(error, ProgrammingError) and _sqlstate(error):
            # Nothing in it is at fault: a table, a column or a permission is missing. A run's record waits for it.
            raise OperationalError(str(error).partition("\n")[0]) from error.__cause__
        return None, error

    # -- while the database is away -------------------------------------------------------------------

    def _spill_batch(self, batch: Sequence[Entry], reason: Exception) -> list[Result]:
        """Bring into safety what must not be lost, and refuse the rest."""
        unavailable = JournalUnavailable("the database does not answer")
        unavailable.__cause__ = reason  # For operators; probes show the message to anybody.
        try:
            return self._keep(self._spill, [entry.change for entry in batch], unavailable)
        except OSError as error:
            logger.error("journal.spill_failed", extra={"error": str(error)})
            time.sleep(self._retry_seconds)
            return []

    def _keep(self, spill: Spill, changes: Sequence[Change], refusal: JournalUnavailable) -> list[Result]:
        """Write to the file what must not be lost, and say what becomes of each. Raises OSError."""
        faults = iter(spill.append(spillable(changes)))
        return [
            self._fate(change, next(faults), refusal) if spillable([change]) else (None, refusal) for change in changes
        ]

    def _fate(self, change: Change, fault: Exception | None, refusal: JournalUnavailable) -> Result:
        """What is said of a change that is in a file now, unless it is at fault."""
        if fault is not None:
            _log_refused(change, fault)
            return None, fault
        is_start = isinstance(change, InsertRun | StartRun)
        return (None, refusal) if is_start and not self._accept_spilled else (True, None)

    def _replay(self) -> None:
        """Write what waits in the spill file, in order."""
        while self._spill.pending:
            changes, offset = self._spill.waiting(self._batch)
            self._write(changes)
            self._spill.replayed(offset)

    def _adopt_orphans(self) -> None:
        """Write what dead processes left in theirs: at the start, and before their runs are swept."""
        for path, changes in orphans(self._spill_folder):
            for start in range(0, len(changes), self._batch):
                self._write(changes[start : start + self._batch])
            path.unlink(missing_ok=True)
            self.adopted += len(changes)
            logger.warning("journal.adopted", extra={"path": str(path), "changes": len(changes)})
        if self._shall_adopt:
            self._shall_adopt = False
            for folder in sorted(elsewhere(self._spill_folder)):
                extra = {"path": str(folder), "ours": str(self._spill_folder)}
                logger.warning("spill.of_another_database", extra=extra)

    def _lost_database(self, error: Exception) -> None:
        if self.available:
            self.available = False
            logger.error("journal.database_unavailable", extra={"error": str(error)})
        self._hang_up()

    def _found_database(self) -> None:
        if not self.available:
            self.available = True
            logger.info("journal.recovered")


def _read_committed(connection: BaseDatabaseWrapper) -> None:
    """Let transactions see what others have committed, whatever the database's default is.

    What writers of one table may do beside each other is held by locks. Above that level PostgreSQL refuses some of it.
    """
    from psycopg import IsolationLevel

    connection.ensure_connection()
    driver: Any = connection.connection
    if driver.isolation_level is not IsolationLevel.READ_COMMITTED:
        driver.isolation_level = IsolationLevel.READ_COMMITTED


def _sqlstate(error: Exception) -> str:
    """What PostgreSQL itself says is wrong; nothing where a driver says it, or SQLite."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def _log_refused(change: Change, error: Exception) -> None:
    """Of what the database says the first line: the others may show the row, and so what a client asked."""
    extra: dict[str, Any] = {"change": type(change).__name__, "error": type(error).__name__}
    if isinstance(error, DatabaseError):
        logger.error("journal.change_refused", extra=extra | {"said": str(error).partition("\n")[0]})
    else:
        logger.error("journal.change_refused", extra=extra, exc_info=error)


def _prepare(batch: Sequence[Entry]) -> None:
    """Let the changes do what takes time before a transaction holds anybody up."""
    for entry in batch:
        prepare = getattr(entry.change, "prepare", None)
        if prepare is not None:
            prepare()
