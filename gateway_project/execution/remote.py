"""How a wish to abort that was written elsewhere reaches the run's owner: it looks each second, and at a hint."""

import asyncio
import logging
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from gateway_project.runs.journal import JournalUnavailable, Query
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause

if TYPE_CHECKING:
    from gateway_project.execution.supervisor import Supervisor

logger = logging.getLogger("gateway.remote")

_LOOK_EVERY_SECONDS = 1.0


class Wish(NamedTuple):
    """That a run be aborted: why, and who asked for what reason."""

    run_id: uuid.UUID
    cause: str
    by: str
    reason: str


class AbortWatch:
    """Looks for wishes to abort this worker's runs, while it has runs."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._task: asyncio.Task[None] | None = None
        self._hinted = asyncio.Event()

    def hint(self) -> None:
        """Somebody has written a wish: look now."""
        self._hinted.set()

    def wake(self) -> None:
        """There is a run to watch."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="gateway:abort-watch")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while self._supervisor.runs:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                    await self._hinted.wait()
            self._hinted.clear()
            try:
                await self._look()
            except JournalUnavailable:
                continue
            except Exception:
                logger.exception("remote.failed")

    async def _look(self) -> None:
        wishes = await self._supervisor.write(Query(partial(wishes_for, self._supervisor.worker)))
        assert isinstance(wishes, list)
        for wish in wishes:
            run = self._supervisor.runs.get(wish.run_id)
            if run is not None and not run.signal.aborted:
                known = wish.cause in AbortCause.values  # A newer version may write a cause that we do not know.
                cause = AbortCause(wish.cause) if known else AbortCause.OPERATOR_CANCELLED
                run.abort(cause, by=wish.by, reason=wish.reason)


def wishes_for(worker: str, connection: BaseDatabaseWrapper) -> list[Wish]:
    """What somebody wants of a worker's open runs."""
    own = Run.objects.using(connection.alias).open_by_owner().filter(Q(owner=worker))  # in a Q: mypy knows no aliases
    wished = own.filter(abort_requested_at__isnull=False)
    return [Wish(*row) for row in wished.values_list("id", "abort_cause", "abort_requested_by", "abort_reason")]
