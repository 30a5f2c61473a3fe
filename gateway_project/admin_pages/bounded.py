"""Pages over a table of millions, without counting it."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

MOST_LISTED = 1_000


class BoundedPaginator(AnyPaginator):
    """Counts to `MOST_LISTED` and no further; what lies beyond is found by narrowing the filters.

    A plain COUNT(*) reads the whole table, and a deep page reads everything before it: after the last page the list
    goes on at the time where it ends.
    """

    @cached_property
    def count(self) -> int:
        """How many rows are listed: all, or `MOST_LISTED`."""
        assert isinstance(self.object_list, QuerySet)
        # In its order, so that the index is read that serves the page, and not the table.
        return self.object_list.values("pk")[:MOST_LISTED].count()

    @property
    def is_capped(self) -> bool:
        """Whether there may be more rows than are listed."""
        return self.count >= MOST_LISTED


class BoundedList(ChangeList):
    """A page of such a list."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> "QuerySet[Any]":
        """Nothing where a filter has NUL, which no text holds: PostgreSQL refuses the query."""
        found = super().get_queryset(request, exclude_parameters)
        has_nul = any("\x00" in value for values in self.filter_params.values() for value in values)
        return found.none() if has_nul else found

    def get_results(self, request: HttpRequest) -> None:
        """Never without a limit: a database that expects many rows would read the whole table for few."""
        super().get_results(request)
        if not self.result_list.query.is_sliced:
            self.result_list = self.result_list[: self.list_max_show_all]
