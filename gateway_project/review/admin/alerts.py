"""The outbox in the admin: which alerts wait, for whom, how often they were tried, and why it failed."""

import json
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway_project.admin_pages.bounded import BoundedList, BoundedPaginator
from gateway_project.admin_pages.times import utc_column
from gateway_project.conf import gateway_settings
from gateway_project.review.admin.columns import two_lines
from gateway_project.review.admin.display import run_link
from gateway_project.review.admin.read_only import ReadOnlyAdmin
from gateway_project.review.visibility import of_visible_runs
from gateway_project.runs.alerts.outbox import SIGNAL, target_of
from gateway_project.runs.models import RunAlert


@admin.display(description="run")
def run(alert: RunAlert) -> SafeString:
    """The run that ended badly."""
    return run_link(alert.run)


@admin.display(description="for whom")
def target(alert: RunAlert) -> str:
    """A webhook by its host alone: the rest of its address may be a secret."""
    if alert.target == SIGNAL:
        return "Receivers of the signal"
    for number, url in enumerate(gateway_settings().WEBHOOK.URLS, start=1):
        if target_of(url) == alert.target:
            return f"Webhook {number}: {urlsplit(url).hostname}"
    return "A webhook that is not configured any more"


@admin.display(description="message")
def message(alert: RunAlert) -> SafeString:
    """As it is sent, readable."""
    text = json.dumps(json.loads(alert.payload), indent=2, ensure_ascii=False)
    return format_html('<pre class="gw-json" tabindex="0">{}</pre>', text)


@admin.display(description="for whom")
def tried(alert: RunAlert) -> SafeString:
    """The target, and below how often it was tried."""
    return two_lines(target(alert), "1 attempt" if alert.attempts == 1 else f"{alert.attempts} attempts")


_SINCE, _NEXT = utc_column("created_at", "since"), utc_column("due_at", "next attempt")

# The stubs know field names only; Django takes functions too.
_COLUMNS: Any = (_SINCE, "event", run, tried, "last_error", _NEXT)
_FIELDS: Any = (_SINCE, "event", run, target, "attempts", "last_error", _NEXT, message)


@admin.register(RunAlert)
class RunAlertAdmin(ReadOnlyAdmin):
    """To look. A row leaves when it is delivered, or given up."""

    list_display = _COLUMNS
    list_filter = ("event",)
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("created_at", "id")
    sortable_by = ()
    paginator = BoundedPaginator
    fields = _FIELDS
    readonly_fields = _FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunAlert]:
        """From the database of the runs; for those who may not see all of them the alerts of runs that they may see."""
        alerts = RunAlert.objects.using(gateway_settings().DATABASE).order_by(*self.ordering)
        return of_visible_runs(request, alerts, "run")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that never asks for more rows than it shows."""
        return BoundedList
