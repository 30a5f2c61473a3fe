"""What all pages have in common that are there to read."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from gateway_project.admin_pages.guarded import GuardedAdmin
from gateway_project.admin_pages.times import NOTHING


class ReadOnlyAdmin(GuardedAdmin):
    """Nobody adds, changes or deletes, not even a superuser."""

    actions: Any = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = NOTHING
    change_form_template: ClassVar[Any] = "admin/gateway_review/read_only_form.html"
    """The stock page without the button to a history: there is none."""

    class Media:
        css = {"all": ("gateway_review/review.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False
