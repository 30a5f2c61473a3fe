"""What all pages have in common that are there to read."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from gateway_project.review.admin.display import NOTHING

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin


class GuardedAdmin(AnyModelAdmin):
    """Nobody learns by a page's answer what he has no permission to see."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The stock page looks for the row before it asks for the permission, and so tells whether it is there."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


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
