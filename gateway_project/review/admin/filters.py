"""Filters of the run list: the questions, as Django's admin wants them. None looks through the table."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_project.review.questions import QUESTIONS, Choice, Question, arrived, complaint, moments
from gateway_project.runs.models import Run

FOLDED = "admin/gateway_runs/run/folded_filter.html"

CLICKED: Mapping[str, str] = {
    "principal_label": "principal",
    "model": "model",
    "client_request_id": "client_request_id",
    "client_address": "client_address",
    "worker": "worker",
    "parent_run": "parent_run",
}
"""Columns that are asked for by a click on a value → their name in the address. No choices: no scan."""


class RunFilter(admin.SimpleListFilter):
    """One of the questions. Made by `filter_for`."""

    question: Question

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Choice]:
        """The choices, and the one in the address when it is none of them (an agent of the past, a clicked value)."""
        found = list(self.question.choices())
        chosen = self.value()
        if chosen and not self.question.closed and chosen not in dict(found):
            found.append((chosen, chosen))
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that the chosen value finds; none for what is no choice: a misspelt filter must not show all."""
        value = self.value()
        if value and (wrong := complaint(str(self.parameter_name), value)):
            messages.error(request, wrong)
            return queryset.none()
        found = self.question.condition(value) if value else None
        return queryset if found is None else queryset.filter(found)


class PeriodFilter(RunFilter):
    """A time range: one that ends now, or from one moment to another. Unlike a date hierarchy it is served by an index.

    ``period=24h``, or ``since`` and ``until`` as `moments` reads them.
    """

    title = "time"
    parameter_name = "period"
    template = "admin/gateway_runs/run/period_filter.html"
    question = QUESTIONS["period"]

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Run], model_admin: Any) -> None:
        self.moments: dict[str, str] = {name: params.pop(name)[-1] for name in ("since", "until") if name in params}
        super().__init__(request, params, model, model_admin)
        self.used_parameters |= self.moments

    def expected_parameters(self) -> list[str | None]:
        """What it takes from the address."""
        return ["period", "since", "until"]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The ranges, and for the template the form of a free one."""
        for index, choice in enumerate(super().choices(changelist)):
            if index == 0 and any(self.moments.values()):
                choice["selected"] = False
            key = "" if index == 0 else self.lookup_choices[index - 1][0]
            choice["query_string"] = changelist.get_query_string({"period": key or None, "since": None, "until": None})
            yield choice

    @property
    def others(self) -> list[tuple[str, str]]:
        """The rest of the address, which the form keeps."""
        own = {*self.expected_parameters(), "p"}
        return [(name, value) for name, values in self.request.GET.lists() if name not in own for value in values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that arrived in it; none for what is no time."""
        try:
            between = arrived(**moments(self.moments))
        except ValueError as error:
            messages.error(request, str(error))
            return queryset.none()
        return super().queryset(request, queryset.filter(between))


def filter_for(name: str) -> type[RunFilter]:
    """The filter for the question of that name."""

    class Filter(RunFilter):
        title = name.replace("_", " ")
        parameter_name = name
        question = QUESTIONS[name]

    if name != "question":
        Filter.template = FOLDED
    return Filter


RUN_FILTERS: tuple[type[admin.ListFilter], ...] = tuple(
    PeriodFilter if name == PeriodFilter.parameter_name else filter_for(name)
    for name in QUESTIONS
    if name != "streaming"  # No index has it: where few runs do, or none, a page would read the whole table.
)
