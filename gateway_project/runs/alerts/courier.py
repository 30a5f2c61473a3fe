"""Delivers what is in the outbox: a thread for each target, so that none waits for another.

An alert is claimed by counting its attempt up and its time on; who does not get to it leaves it to whoever did. A
claim lapses, so that what a process held when it died is another's. What fails is tried again after twice the time.
"""

import json
import logging
import random
import threading
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import Enum

from django.db import DatabaseError, connections
from django.db.models import QuerySet

from gateway_project import clock
from gateway_project.conf import GatewaySettings
from gateway_project.runs.alerts.models import RunAlert
from gateway_project.runs.alerts.outbox import SIGNAL, WEBHOOKS, target_of
from gateway_project.runs.alerts.signature import signed_headers
from gateway_project.runs.models import Run
from gateway_project.runs.posting import NotPosted, post
from gateway_project.runs.signals import run_ended_badly

logger = logging.getLogger("gateway.alerts")

_LOOK_EVERY_SECONDS = 5.0
_AT_A_TIME = 20
_MOST_OWN = 1000
_LONGEST_WAIT = timedelta(days=1)
_STALE = timedelta(days=7)
"""What waits for so long waits for a target that is not configured any more."""


class Fate(Enum):
    """What became of an attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"


class Courier(ABC):
    """One target's thread."""

    attempts = 3
    claim_seconds = 60.0
    retry_seconds = 5.0

    def __init__(self, target: str, alias: str) -> None:
        self.target = target
        self._alias = alias
        self._own: deque[uuid.UUID] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"gateway-alerts-{target[:8]}", daemon=True)

    @abstractmethod
    def deliver(self, alert: RunAlert) -> Fate:
        """Try once, and leave in `alert.last_error` why it failed. Blocking."""

    def start(self) -> None:
        """Begin to look for what is due."""
        self._thread.start()

    def add(self, alert: RunAlert) -> None:
        """This process has just written it: deliver it now. What is too much is found by its time."""
        with self._wake:
            if len(self._own) < _MOST_OWN:
                self._own.append(alert.pk)
                self._wake.notify()

    def stop(self) -> None:
        """Try what this process has written once more, then end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end; what is under way is left to the others when it takes too long."""
        self._thread.join(max(0.0, seconds))

    # -- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        begun = False
        while True:
            try:
                if not begun:
                    RunAlert.objects.using(self._alias).filter(created_at__lt=clock.now() - _STALE).delete()
                    begun = True
                self._work()
            except DatabaseError as error:
                logger.warning("alerts.database_unavailable", extra={"error": str(error)})
            except Exception:
                # Whatever it is, the next alert deserves its chance, and this one its next attempt.
                logger.exception("alerts.failed")
            finally:
                connections.close_all()  # This thread's: the receivers' too.
            with self._wake:
                if not self._own and not self._stopping:
                    self._wake.wait(min(_LOOK_EVERY_SECONDS, self.retry_seconds))
                if self._stopping and not self._own:
                    return

    def _work(self) -> None:
        for alert in self._waiting():
            if self._claim(alert):
                self._settle(alert, self.deliver(alert))

    def _waiting(self) -> Iterator[RunAlert]:
        """This process's own, then what is due."""
        while (own := self._next_own()) is not None:
            yield from self._alerts().filter(pk=own, attempts=0)
        if not self._stopping:
            yield from list(self._alerts().filter(due_at__lte=clock.now()).order_by("due_at")[:_AT_A_TIME])

    def _next_own(self) -> uuid.UUID | None:
        with self._wake:
            return self._own.popleft() if self._own else None

    def _alerts(self) -> "QuerySet[RunAlert]":
        return RunAlert.objects.using(self._alias).filter(target=self.target)

    def _claim(self, alert: RunAlert) -> bool:
        """Whether this attempt is ours."""
        until = clock.now() + timedelta(seconds=self.claim_seconds)
        mine = self._alerts().filter(pk=alert.pk, attempts=alert.attempts)
        alert.attempts += 1
        return bool(mine.update(attempts=alert.attempts, due_at=until))

    def _settle(self, alert: RunAlert, fate: Fate) -> None:
        mine = self._alerts().filter(pk=alert.pk, attempts=alert.attempts)
        if fate is Fate.DELIVERED:
            mine.delete()
            self._count("delivered")
        elif fate is Fate.REFUSED or alert.attempts >= self.attempts:
            mine.delete()
            self._count("given_up")
            extra = {"run_id": alert.run, "end": alert.event, "attempts": alert.attempts, "target": self.target}
            logger.error("alerts.given_up", extra=extra)
        else:
            mine.update(due_at=clock.now() + self._wait_after(alert.attempts), last_error=alert.last_error)
            self._count("retried")

    def _count(self, result: str) -> None:
        if self.target != SIGNAL:
            WEBHOOKS.add(result=result)

    def _wait_after(self, attempts: int) -> timedelta:
        """Twice as long each time, and not for all at the same moment."""
        spread = random.uniform(0.8, 1.2)  # noqa: S311 (nothing secret)
        seconds = self.retry_seconds * spread * 2 ** min(attempts - 1, 30)
        return min(timedelta(seconds=seconds), _LONGEST_WAIT)


class SignalCourier(Courier):
    """Sends Django's signal."""

    def __init__(self, alias: str) -> None:
        super().__init__(SIGNAL, alias)

    def deliver(self, alert: RunAlert) -> Fate:
        """What receivers raise is logged by Django, and is no reason to trouble the others again."""
        data = json.loads(alert.payload)["data"]
        run_ended_badly.send_robust(Run, run_id=alert.run, event=alert.event, data=data)
        return Fate.DELIVERED


class WebhookCourier(Courier):
    """Posts to one address."""

    def __init__(self, url: str, settings: GatewaySettings) -> None:
        super().__init__(target_of(url), settings.DATABASE)
        self._url = url
        self._webhook = settings.WEBHOOK
        self.attempts = settings.WEBHOOK.ATTEMPTS
        self.retry_seconds = settings.WEBHOOK.RETRY_SECONDS
        self.claim_seconds = settings.WEBHOOK.TIMEOUT_SECONDS + 5

    def deliver(self, alert: RunAlert) -> Fate:
        """Any 2xx is a yes; 410 says that nobody will ever listen (Standard Webhooks, "Operational considerations")."""
        body = alert.payload.encode()
        headers = signed_headers(f"msg_{alert.pk.hex}", clock.now(), body, self._webhook.SECRETS)
        try:
            status = post(self._url, body, headers, seconds=self._webhook.TIMEOUT_SECONDS)
        except NotPosted as error:
            why = str(error)
        else:
            if 200 <= status < 300:
                return Fate.DELIVERED
            why = f"answered with {status}"
        alert.last_error = why
        extra = {"run_id": alert.run, "attempt": alert.attempts, "reason": why, "target": self.target}
        logger.warning("alerts.webhook_failed", extra=extra)
        return Fate.REFUSED if why == "answered with 410" else Fate.FAILED


def couriers_of(settings: GatewaySettings) -> Sequence[Courier]:
    """One for the signal, where somebody listens, and one for each address."""
    couriers: list[Courier] = [WebhookCourier(url, settings) for url in dict.fromkeys(settings.WEBHOOK.URLS)]
    if run_ended_badly.has_listeners(Run):
        couriers.append(SignalCourier(settings.DATABASE))
    return couriers
