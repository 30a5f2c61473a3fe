"""A stream whose client dropped waits for it to come back, as the agent's ``linger:SECONDS`` says."""

import asyncio
from datetime import datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.journal import Query
from gateway_project.runs.vocabulary import AbortCause, NoteKind

from .following import is_followed, when_left
from .models import StoredResponse


class Linger:
    """Stops one run when nobody has followed its stream for `seconds`, here or in another process."""

    def __init__(self, run: ActiveRun, seconds: float) -> None:
        self._run = run
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client has dropped."""
        if self._timer is not None or self._run.closed.done():
            return
        self._run.note(NoteKind.CLIENT_GONE, f"goes on for {self._seconds:g} s, unless it is resumed")
        when_left(self._run.record.id, self._arm)
        self._run.closed.add_done_callback(self._over)
        self._arm()

    def _arm(self, seconds: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait = self._seconds if seconds is None else seconds
        self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        if not is_followed(self._run.record.id):
            current_supervisor().submit(Query(self._followed_until)).add_done_callback(self._decide)

    def _followed_until(self, connection: BaseDatabaseWrapper) -> datetime | None:
        row = StoredResponse.objects.using(connection.alias).filter(pk=self._run.record.id)
        return row.values_list("followed_until", flat=True).first()

    def _decide(self, answer: "asyncio.Future[object]") -> None:
        if is_followed(self._run.record.id):
            return  # Who has come meanwhile will leave, and be heard.
        until = answer.result() if answer.exception() is None else None
        if isinstance(until, datetime):
            left = (until + timedelta(seconds=self._seconds) - clock.now()).total_seconds()
            if left > 0:
                self._arm(left)
                return
        self._run.abort(AbortCause.CLIENT_DISCONNECT, reason=f"not resumed within {self._seconds:g} s")

    def _over(self, _: "asyncio.Future[None]") -> None:
        when_left(self._run.record.id, None)
        if self._timer is not None:
            self._timer.cancel()
