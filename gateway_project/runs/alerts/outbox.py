"""What is written with a bad end, in its own transaction, so that whoever dies next takes no alert with him."""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.observe.metrics import Counter
from gateway_project.runs.alerts.models import RunAlert
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.retention.belongings import Belongings
from gateway_project.runs.signals import run_ended_badly
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, RunStatus

logger = logging.getLogger("gateway.alerts")

SIGNAL = "signal"
HEAD_START = timedelta(seconds=2)
"""For so long others leave an alert to the process that has made it, which sends it at once."""

_COUNT_EVERY_SECONDS = 1.0

WEBHOOKS = Counter(
    "gateway_webhooks_total",
    "Attempts to tell a webhook of a run that ended badly, by what became of them.",
    ("result",),
)
for _result in ("delivered", "retried", "given_up", "dropped"):
    WEBHOOKS.add(0, result=_result)

Listener = Callable[[Sequence[RunAlert]], None]
_listeners: list[Listener] = []


def when_written(listener: Listener) -> None:
    """Call `listener` with each commit's new alerts, in the writer's thread: it must only take note of them."""
    _listeners.append(listener)


def no_longer(listener: Listener) -> None:
    """Call it no more."""
    _listeners.remove(listener)


def target_of(url: str) -> str:
    """How an address is named in the outbox: it may hold a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def event_of(end: RunRecord) -> str | None:
    """Which bad end this is, if it is one."""
    if end.abort_outcome == AbortOutcome.UNRESPONSIVE:
        return "unresponsive"
    if end.abort_cause == AbortCause.WORKER_LOST:
        return "worker_lost"
    return "failed" if end.status == RunStatus.FAILED else None


def announce(end: RunRecord, agent: str, connection: BaseDatabaseWrapper) -> None:
    """Write down who is to be told of this end, if anybody is. In the transaction that writes the end."""
    event = event_of(end)
    if event is None:
        return
    webhook = gateway_settings().WEBHOOK
    targets = [target_of(url) for url in webhook.URLS] if event in webhook.ENDS else []
    if run_ended_badly.has_listeners(Run):
        targets.append(SIGNAL)
    if not targets:
        return
    if _fullness.is_full(connection):
        WEBHOOKS.add(result="dropped")
        logger.error("alerts.dropped", extra={"run_id": end.id, "end": event, "waiting": webhook.CAPACITY})
        return
    payload, due_at = payload_of(end, event, agent), clock.now() + HEAD_START
    alerts = [RunAlert(run=end.id, target=target, event=event, payload=payload, due_at=due_at) for target in targets]
    RunAlert.objects.using(connection.alias).bulk_create(alerts)
    transaction.on_commit(partial(_tell, alerts), using=connection.alias, robust=True)


def _tell(alerts: Sequence[RunAlert]) -> None:
    for listener in tuple(_listeners):
        listener(alerts)


def payload_of(end: RunRecord, event: str, agent: str) -> str:
    """The message, as Standard Webhooks wants it: type, timestamp, data. It names nobody, and holds no content."""
    data: dict[str, Any] = {
        "run_id": str(end.id),
        "status": str(end.status),
        "abort_cause": str(end.abort_cause) or None,
        "abort_outcome": str(end.abort_outcome) or None,
        "agent": agent,
        "endpoint": str(end.endpoint),
        "received_at": _iso(end.received_at),
        "started_at": _iso(end.started_at),
        "abort_requested_at": _iso(end.abort_requested_at),
        "finished_at": _iso(end.finished_at),
        "error_code": end.error_code or None,
    }
    return json.dumps({"type": f"run.{event}", "timestamp": data["finished_at"], "data": data}, separators=(",", ":"))


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else None


class _Fullness:
    """Whether more alerts wait than are allowed; looked at once a second, so that a flood of ends costs nothing."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._is_full = False

    def is_full(self, connection: BaseDatabaseWrapper) -> bool:
        now = clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= _COUNT_EVERY_SECONDS:
            waiting = RunAlert.objects.using(connection.alias).order_by().values_list("pk")
            beyond = gateway_settings().WEBHOOK.CAPACITY
            self._is_full = bool(waiting[beyond - 1 : beyond])
            self._looked_at = now
        return self._is_full


_fullness = _Fullness()


class Alerts(Belongings):
    """What is still to be told of a run that is purged is told to nobody."""

    name = "alerts"

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete them."""
        RunAlert.objects.using(connection.alias).filter(run__in=list(run_ids)).delete()

    def erase(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """They name nobody."""
