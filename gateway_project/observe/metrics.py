"""Metrics in Prometheus' text format, for this process. Label values are from closed sets: no ids, no client's names.

Whoever has something to count makes a `Counter`; whoever has a level to show registers a gauge.
"""

from collections import Counter as Counts
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse

from gateway_project.observe.outside import outside_transactions

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_counters: dict[str, "Counter"] = {}
_gauges: dict[str, tuple[str, Callable[[], float]]] = {}


class Counter:
    """Something that only grows. Used in the event loop only."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...] = ()) -> None:  # noqa: A002 (Prometheus' word)
        self.name = name
        self.help = help
        self._labels = labels
        self._values: Counts[tuple[str, ...]] = Counts()
        _counters[name] = self

    def add(self, amount: int = 1, **labels: str) -> None:
        """Count, under the values of all its labels."""
        self._values[tuple(labels[name] for name in self._labels)] += amount

    def lines(self) -> list[str]:
        """Its samples."""
        return [
            f"{self.name}{_spell(dict(zip(self._labels, values, strict=True)))} {value}"
            for values, value in sorted(self._values.items())
        ] or ([f"{self.name} 0"] if not self._labels else [])


def register_gauge(name: str, help: str, value: Callable[[], float]) -> None:  # noqa: A002 (Prometheus' word)
    """Let ``/metrics`` ask `value`. A later one of the same name replaces it."""
    _gauges[name] = (help, value)


@outside_transactions
async def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics of this process."""
    return HttpResponse(exposition(), content_type=CONTENT_TYPE)


def exposition() -> str:
    """The metrics as text."""
    lines: list[str] = []
    for counter in _counters.values():
        lines += [f"# HELP {counter.name} {counter.help}", f"# TYPE {counter.name} counter", *counter.lines()]
    for name, (help_, value) in _gauges.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge", f"{name} {value():g}"]
    return "\n".join(lines) + "\n"


def _spell(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
