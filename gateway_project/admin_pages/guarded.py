"""Pages of the admin that tell nobody what he has no permission to see."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin


class GuardedAdmin(AnyModelAdmin):
    """Nobody learns by a page's answer what he has no permission to see."""

    def filter_parameters(self, request: HttpRequest) -> frozenset[str]:
        """What the filters of the list take from its address: all that an address may filter by."""
        names: set[str] = set()
        for declared in self.get_list_filter(request):
            column = declared[0] if isinstance(declared, (list, tuple)) else declared
            if isinstance(column, str):
                names |= {column, f"{column}__exact", f"{column}__isnull"}
            else:
                names.add(column.parameter_name)  # type: ignore[union-attr]  # a SimpleListFilter, as all of ours
        return frozenset(names)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The stock list takes any lookup on a column, and so tells what stands in those that it does not show."""
        return lookup in self.filter_parameters(request)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The stock page looks for the row before it asks for the permission, and so tells whether it is there."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)
