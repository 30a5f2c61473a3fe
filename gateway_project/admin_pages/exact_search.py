"""A search that an index serves, however long the table is."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_project.admin_pages.guarded import AnyModelAdmin
from gateway_project.ids import parse_run_id


class ExactSearch(AnyModelAdmin):
    """Finds what the one field of `search_fields` is exactly, or what belongs to a run, by its id in any spelling.

    The stock search for an exact text folds its case, and so reads the whole table.
    """

    run_field: ClassVar[str]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Those rows, each once."""
        term = search_term.strip()
        if not term:
            return queryset, False
        run_id = parse_run_id(term)
        if run_id is not None:
            of_run = queryset.filter(**{self.run_field: run_id})
            if of_run.exists():  # If not, it may be what somebody is called.
                return of_run, False
        (field,) = self.search_fields
        return queryset.filter(**{field: term}), False
