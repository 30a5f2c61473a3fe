"""What ``verifyruns`` found, in the admin: a page for each walk, and a badge where runs are looked at."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway_project.admin_pages.times import NOTHING, utc_column, utc_seconds
from gateway_project.conf import gateway_settings
from gateway_project.review.admin.display import badge
from gateway_project.review.admin.read_only import ReadOnlyAdmin
from gateway_project.review.visibility import sees_all_runs
from gateway_project.runs.models import Verification

VIEW = "gateway_runs.view_verification"


def found(verification: Verification) -> str:
    """In words, without a name: how many breaks there are, or that there are none."""
    if verification.is_clean:
        return "clean"
    number = sum(verification.breaks.values())
    return "1 break" if number == 1 else f"{number:,} breaks"


@admin.display(description="result")
def result(verification: Verification) -> SafeString:
    """As a badge."""
    if verification.finished_at is None:
        return badge("Not finished", "quiet")
    if verification.is_clean:
        return badge("Clean", "good")
    return badge(found(verification), "bad")


@admin.display(description="breaks")
def breaks(verification: Verification) -> SafeString | str:
    """How many of each kind."""
    lines = [(f"{count:,}", kind) for kind, count in sorted(verification.breaks.items())]
    return format_html_join(format_html("<br>{}", ""), "{} {}", lines) if lines else NOTHING


def verification_badge(request: HttpRequest, verification: Verification | None) -> SafeString:
    """What the last verification found, and a link to it for who may see it."""
    if verification is None or verification.finished_at is None:
        return format_html('<p class="gw-verified">Record {}</p>', badge("Never verified", "quiet"))
    text = format_html(
        '{} at <time datetime="{}">{}</time> UTC',
        result(verification),
        verification.finished_at.isoformat(),
        utc_seconds(verification.finished_at),
    )
    if request.user.has_perm(VIEW):
        url = reverse("admin:gateway_runs_verification_change", args=(verification.pk,))
        text = format_html('<a href="{}">{}</a>', url, text)
    return format_html('<p class="gw-verified">Record verified: {}</p>', text)


# The stubs know field names only; Django takes functions too.
_COLUMNS: Any = (result, utc_column("started_at", "started"), utc_column("finished_at", "finished"), "seals", "rows")


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    """To look. Only `verifyruns` makes them; what stands here is no proof, running it is."""

    list_display = _COLUMNS
    list_display_links = (result,)
    ordering = ("-id",)

    def get_fields(self, request: HttpRequest, obj: Verification | None = None) -> Any:
        """The first break names a run, so it is for who may see all of them."""
        named: Any = ("first_break",) if sees_all_runs(request) else ()
        return (*_COLUMNS, utc_column("walked_at", "last step"), breaks, *named)

    def get_readonly_fields(self, request: HttpRequest, obj: Verification | None = None) -> Any:
        """All."""
        return self.get_fields(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Verification]:
        """From the database of the runs."""
        return Verification.objects.using(gateway_settings().DATABASE).defer("checkpoint").order_by(*self.ordering)
