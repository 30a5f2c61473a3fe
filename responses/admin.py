"""Stored responses in the admin: that they are there, whose, and for how long; not what they say."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from gateway_project.admin_pages.bounded import BoundedList, BoundedPaginator
from gateway_project.admin_pages.exact_search import ExactSearch
from gateway_project.admin_pages.guarded import GuardedAdmin
from gateway_project.admin_pages.times import utc_column
from gateway_project.conf import gateway_settings
from gateway_project.review.visibility import of_visible_runs

from .models import StoredResponse

# The stubs know field names only; Django takes functions too.
_SHOWN: Any = (
    "status",
    "background",
    "principal_kind",
    "principal_id",
    utc_column("created_at", "created"),
    utc_column("expires_at", "expires"),
)
_COLUMNS: Any = ("__str__", *_SHOWN)
_FIELDS: Any = ("run", *_SHOWN, "previous", utc_column("followed_until", "followed until"))


@admin.register(StoredResponse)
class StoredResponseAdmin(ExactSearch, GuardedAdmin):
    """To look, never to change. Content stays with the client that may ask for it."""

    list_display = _COLUMNS
    list_filter = ("status", "background")
    list_per_page = 50
    list_max_show_all = 200
    search_fields = ("principal_id",)
    search_help_text = "A principal's id, or a response's id in any spelling."
    run_field = "pk"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    fields = _FIELDS
    readonly_fields = fields

    @admin.display(description="run")
    def run(self, response: StoredResponse) -> str:
        """Its run, which tells how it was made and how it ended."""
        try:
            url = reverse("admin:gateway_runs_run_change", args=(response.pk,), current_app=self.admin_site.name)
        except NoReverseMatch:  # The app `gateway_project.review`, whose page that is, is not installed.
            return str(response.pk)
        return format_html('<a href="{}">{}</a>', url, response.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredResponse]:
        """From the database of the runs; for those who may not see all of them those of runs that they may see."""
        found = StoredResponse.objects.using(gateway_settings().DATABASE).order_by(*self.ordering)
        return of_visible_runs(request, found.defer("request", "input", "body"), "pk")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that never asks for more rows than it shows."""
        return BoundedList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only requests make responses."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Their client deletes them, or `purgeresponses` when their time is over."""
        return False
