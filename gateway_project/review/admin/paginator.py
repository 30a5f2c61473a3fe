"""Pages over a table of millions, without counting it."""

from functools import cached_property
from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.db.models import QuerySet

from gateway_project.runs.models import Run

if TYPE_CHECKING:
    RunPaginator = Paginator[Run]
else:
    RunPaginator = Paginator

MOST_LISTED = 10_000


class BoundedPaginator(RunPaginator):
    """Counts to `MOST_LISTED` and no further; what lies beyond is found by narrowing the filters.

    A plain COUNT(*) reads the whole table, and a deep page reads everything before it.
    """

    @cached_property
    def count(self) -> int:
        """How many rows are listed: all, or `MOST_LISTED`."""
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by().values("pk")[:MOST_LISTED].count()

    @property
    def is_capped(self) -> bool:
        """Whether there may be more rows than are listed."""
        return self.count >= MOST_LISTED
