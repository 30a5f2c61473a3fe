"""Whose runs may be seen: the one place where ``GATEWAY["RUN_VISIBILITY"]`` is obeyed."""

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from gateway_project.conf import gateway_settings, import_dotted
from gateway_project.runs.models import Run, RunQuerySet

Row = TypeVar("Row", bound=Model)


def visible_runs(request: HttpRequest) -> RunQuerySet:
    """The runs that whoever sends `request` may know of, from the database that the journal writes to.

    ``request.user`` is the user, or in the API the `Operator` that an API key stands for.
    """
    settings = gateway_settings()
    runs: RunQuerySet = Run.objects.using(settings.DATABASE)
    if settings.RUN_VISIBILITY is None:
        return runs
    narrow = import_dotted(settings.RUN_VISIBILITY, "GATEWAY['RUN_VISIBILITY']")
    seen: RunQuerySet = narrow(request, runs)
    return seen


def sees_all_runs(request: HttpRequest) -> bool:
    """Whether nothing is kept from whoever sends `request`."""
    return not visible_runs(request).query.where


def of_visible_runs(request: HttpRequest, rows: "QuerySet[Row]", field: str) -> "QuerySet[Row]":
    """Rows that belong to runs, each to the one in its `field`: all of them, or those of runs that may be seen."""
    if sees_all_runs(request):
        return rows
    return rows.filter(**{f"{field}__in": visible_runs(request).order_by().values("pk")})
