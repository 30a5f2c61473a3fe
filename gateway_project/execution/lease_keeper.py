"""This process's lease: renewed while it lives; and the sweeping of what others left behind."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from gateway_project import clock
from gateway_project.runs.journal import Journal
from gateway_project.runs.lease import EndLease, RenewLease, Sweep, Swept

logger = logging.getLogger("gateway.lease")


class LeaseKeeper:
    """Renews the lease three times as often as it would lapse, and sweeps when it may.

    After the database was away every lease may have lapsed while all processes lived. So others are only taken
    for lost when the database has answered for a third of a lease without a gap: by then the living, who try all
    the time, have renewed theirs.

    Args:
        on_lost: called when others took this process for dead (it was paused); they have closed its runs.
    """

    def __init__(self, journal: Journal, *, worker: str, seconds: float, on_lost: Callable[[], str]) -> None:
        self._journal = journal
        self._worker = worker
        self._seconds = seconds
        self._on_lost = on_lost
        self._answering_since: float | None = None
        self._asked_for = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Register the worker and keep its lease from here on."""
        first = self._journal.submit(RenewLease(self._worker, self._seconds))
        self._task = asyncio.get_running_loop().create_task(self._keep(first), name="gateway:lease")

    def renew(self) -> None:
        """Ask now: somebody has seen that the lease is lost."""
        self._asked_for.set()

    async def stop(self) -> None:
        """End the lease in good order."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._journal.submit(EndLease(self._worker))

    async def _keep(self, renewal: "asyncio.Future[object]") -> None:
        interval = self._seconds / 3
        while True:
            asked_at = clock.monotonic()
            try:
                renewed = await renewal
            except Exception:  # noqa: BLE001 (the journal has logged it; a lease is asked for as long as we live)
                self._answering_since = None
                await asyncio.sleep(min(1.0, interval))
                renewal = self._journal.submit(RenewLease(self._worker, self._seconds))
                continue
            answered_at = clock.monotonic()
            if renewed is False:
                logger.error("lease.lost", extra={"worker": self._worker})
                self._worker = self._on_lost()
                renewal = self._journal.submit(RenewLease(self._worker, self._seconds))
                continue  # The new name is registered before it can own a run for long.
            if answered_at - asked_at > interval or self._answering_since is None:
                self._answering_since = answered_at
            elif answered_at - self._answering_since >= interval:
                sweep = Sweep(not_after=answered_at + interval)
                self._journal.submit(sweep).add_done_callback(_report)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._asked_for.wait()
            self._asked_for.clear()
            renewal = self._journal.submit(RenewLease(self._worker, self._seconds))


def _report(sweeping: "asyncio.Future[Swept]") -> None:
    if not sweeping.cancelled() and sweeping.exception() is None and any(swept := sweeping.result()):
        logger.warning("lease.swept", extra=swept._asdict())
