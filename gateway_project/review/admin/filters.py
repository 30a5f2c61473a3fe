"""Filters of the run list. Their choices are fixed or come from the settings: none looks through the table."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.db.models.enums import Choices
from django.http import HttpRequest

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import (
    OPEN_STATUSES,
    AbortCause,
    AbortOutcome,
    AbortPhase,
    Endpoint,
    RunStatus,
)

Choice = tuple[str, str]

FOLDED = "admin/gateway_runs/run/folded_filter.html"
SLOW_ABORT = timedelta(seconds=1)


class QueryFilter(admin.SimpleListFilter):
    """A fixed set of named queries."""

    options: Mapping[str, tuple[str, Q]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Choice]:
        """Key and label of each query."""
        return [(key, label) for key, (label, _) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that the chosen query finds."""
        option = self.options.get(self.value() or "")
        return queryset.filter(option[1]) if option else queryset


class QuestionFilter(QueryFilter):
    """What an auditor asks most, each in one click."""

    title = "question"
    parameter_name = "question"
    options = {
        "running": ("Running now", Q(status__in=sorted(OPEN_STATUSES))),
        "client-gone": (
            "Client gone",
            # An agent that is configured to finish goes on without a cause; its answer reached nobody.
            Q(abort_cause__in=(AbortCause.CLIENT_DISCONNECT, AbortCause.SLOW_READER))
            | Q(abort_cause="", status=RunStatus.COMPLETED, delivered=False),
        ),
        "unresponsive": ("Agent did not stop", Q(abort_outcome=AbortOutcome.UNRESPONSIVE)),
        "slow-abort": (
            "Slow to stop (over 1 s)",
            Q(abort_outcome=AbortOutcome.UNRESPONSIVE) | Q(settled_at__gt=F("abort_requested_at") + SLOW_ABORT),
        ),
        "undelivered": ("Undelivered", Q(delivered=False)),
        "failed": ("Failed", Q(status=RunStatus.FAILED)),
    }


class StreamingFilter(QueryFilter):
    """Whether the answer was asked for as a stream."""

    title = "streaming"
    parameter_name = "streaming"
    template = FOLDED
    options = {"yes": ("Streaming", Q(streaming=True)), "no": ("Not streaming", Q(streaming=False))}


class PeriodFilter(admin.SimpleListFilter):
    """A time range that ends now. Unlike a date hierarchy it is served by the index on the arrival."""

    title = "time"
    parameter_name = "period"
    template = FOLDED
    periods: Mapping[str, tuple[str, timedelta]] = {
        "1h": ("Last hour", timedelta(hours=1)),
        "24h": ("Last 24 hours", timedelta(hours=24)),
        "7d": ("Last 7 days", timedelta(days=7)),
        "30d": ("Last 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Choice]:
        """The ranges."""
        return [(key, label) for key, (label, _) in self.periods.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that arrived in it."""
        period = self.periods.get(self.value() or "")
        return queryset.filter(received_at__gte=clock.now() - period[1]) if period else queryset


class ColumnFilter(admin.SimpleListFilter):
    """One column, one of a closed set of values. Made by `column_filter`."""

    template = FOLDED
    column: str
    values: Callable[[], Iterable[Choice]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Choice]:
        """The values, and the one in the address when it is none of them (an agent of the past, a clicked value)."""
        found = list(type(self).values())
        chosen = self.value()
        if chosen and chosen not in dict(found):
            found.append((chosen, chosen))
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that have it."""
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


def column_filter(
    field: str, values_of: Callable[[], Iterable[Choice]], *, parameter: str | None = None
) -> type[ColumnFilter]:
    """A filter on `field`, which `parameter` (or the field's name) names in the address."""

    class Filter(ColumnFilter):
        title = (parameter or field).replace("_", " ")
        parameter_name = parameter or field
        column = field
        values = staticmethod(values_of)

    return Filter


def of_choices(field: str, choices: type[Choices]) -> type[ColumnFilter]:
    """A filter on a field with a closed vocabulary."""
    return column_filter(field, lambda: choices.choices)


def _agents() -> Iterable[Choice]:
    return [(name, name) for name in gateway_settings().AGENTS]


def _none() -> Iterable[Choice]:
    return ()


CLICKED: Mapping[str, str] = {
    "principal_label": "principal",
    "model": "model",
    "client_request_id": "client_request_id",
    "client_address": "client_address",
    "worker": "worker",
}
"""Columns that are asked for by a click on a run's page → their name in the address. No choices: no scan."""

RUN_FILTERS: tuple[type[admin.ListFilter], ...] = (
    QuestionFilter,
    PeriodFilter,
    of_choices("status", RunStatus),
    of_choices("abort_cause", AbortCause),
    of_choices("abort_outcome", AbortOutcome),
    of_choices("abort_phase", AbortPhase),
    of_choices("endpoint", Endpoint),
    column_filter("agent", _agents),
    StreamingFilter,
    *(column_filter(field, _none, parameter=parameter) for field, parameter in CLICKED.items()),
)
