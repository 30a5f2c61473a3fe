"""Who looked at the records: a list to read, and on a run's page the latest of those who looked at it."""

from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from gateway_project.admin_pages.bounded import BoundedList, BoundedPaginator
from gateway_project.admin_pages.exact_search import ExactSearch
from gateway_project.admin_pages.times import NOTHING, utc_column, utc_seconds
from gateway_project.conf import gateway_settings
from gateway_project.review.access import ERASED, Onlooker
from gateway_project.review.admin.display import run_link
from gateway_project.review.admin.read_only import ReadOnlyAdmin
from gateway_project.review.models import AccessRecord
from gateway_project.review.visibility import of_visible_runs
from gateway_project.runs.models import Run

VIEW_ACCESSES = "gateway_review.view_accessrecord"
MOST_LATEST = 10


at = utc_column("at", "at")


@admin.display(description="run")
def run(record: AccessRecord) -> SafeString | str:
    """The run that was looked at."""
    return NOTHING if record.run is None else run_link(record.run)


@admin.display(description="filter")
def asked(record: AccessRecord) -> str:
    """What was asked for, readable."""
    if record.asked == ERASED:
        return ERASED
    return ", ".join(f"{name}: {value}" for name, value in parse_qsl(record.asked)) or NOTHING


@admin.display(description="looked at by")
def looked_at_by(seen: Run) -> SafeString | str:
    """The latest who looked at a run, and where they all are."""
    latest = list(AccessRecord.objects.using(gateway_settings().DATABASE).filter(run=seen.pk)[:MOST_LATEST])
    if not latest:
        return NOTHING
    lines = format_html_join(
        "",
        "<li>{} UTC: {} ({}, {})</li>",
        [(utc_seconds(each.at), each.who, each.get_what_display(), each.get_via_display()) for each in latest],
    )
    url = f"{reverse('admin:gateway_review_accessrecord_changelist')}?{urlencode({'q': str(seen.pk)})}"
    return format_html('<ul class="gw-looks">{}</ul><a href="{}">All looks at this run</a>', lines, url)


def latest_look(run_id: Any, *, but_of: Onlooker) -> int | None:
    """What changes when somebody else has looked at a run: whoever looks at its page need not see himself at once."""
    found = AccessRecord.objects.using(gateway_settings().DATABASE).filter(run=run_id)
    others = found.exclude(who_kind=but_of.kind, who_id=but_of.id)
    return others.values_list("pk", flat=True).first()


# The stubs know field names only; Django takes functions too.
_FIELDS: Any = (at, "who", "who_kind", "who_id", "what", "via", run, asked, "address")


@admin.register(AccessRecord)
class AccessRecordAdmin(ExactSearch, ReadOnlyAdmin):
    """Read-only for everybody: rows are left by looking."""

    list_display = (at, "who", "what", "via", run, asked, "address")
    list_filter = ("what", "via")
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("-at", "-id")
    sortable_by = ()
    search_fields = ("who",)
    run_field = "run"
    search_help_text = "A user's exact name, or a run's id in any spelling."
    paginator = BoundedPaginator
    fields = _FIELDS
    readonly_fields = _FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessRecord]:
        """All; for those who may not see all runs the looks at runs that they may see."""
        records = AccessRecord.objects.using(gateway_settings().DATABASE).order_by(*self.ordering)
        return of_visible_runs(request, records, "run")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that never asks for more rows than it shows."""
        return BoundedList
