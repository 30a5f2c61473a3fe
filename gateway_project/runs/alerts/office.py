"""All couriers of a process: begun by whoever serves, or sweeps; the only ones that deliver."""

from collections.abc import Sequence

from gateway_project import clock
from gateway_project.conf import GatewaySettings
from gateway_project.runs.alerts import outbox
from gateway_project.runs.alerts.courier import Courier, couriers_of
from gateway_project.runs.alerts.models import RunAlert


class Office:
    """Begins them, hands them what this process writes, and ends them."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._couriers: dict[str, Courier] = {courier.target: courier for courier in couriers_of(settings)}

    def open(self) -> None:
        """From here on alerts are delivered. Where nobody is to be told this does nothing."""
        if not self._couriers:
            return
        outbox.when_written(self._take)
        for courier in self._couriers.values():
            courier.start()

    def close(self, *, within: float) -> None:
        """Deliver what this process has just written, for so many seconds at most. Blocking."""
        if not self._couriers:
            return
        outbox.no_longer(self._take)
        until = clock.monotonic() + within
        for courier in self._couriers.values():
            courier.stop()
        for courier in self._couriers.values():
            courier.join(until - clock.monotonic())

    def _take(self, alerts: Sequence[RunAlert]) -> None:
        for alert in alerts:
            if (courier := self._couriers.get(alert.target)) is not None:
                courier.add(alert)
