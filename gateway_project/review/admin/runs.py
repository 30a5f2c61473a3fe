"""The runs in the admin: to read, to search, to cancel; never to change."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from gateway_project.conf import gateway_settings
from gateway_project.ids import chat_completion_id, parse_run_id, response_id
from gateway_project.review.admin import columns
from gateway_project.review.admin.cancel import CancellingAdmin
from gateway_project.review.admin.display import NOTHING
from gateway_project.review.admin.filters import CLICKED, RUN_FILTERS
from gateway_project.review.admin.paginator import BoundedPaginator
from gateway_project.review.admin.story import story
from gateway_project.review.admin.timeline import timeline
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import Endpoint

MOST_NOTES = 500


def clickable(field: str) -> Callable[[Run], SafeString | str]:
    """A field of the run's page that leads to all runs with the same value."""
    parameter = CLICKED.get(field, field)

    @admin.display(description=Run._meta.get_field(field).verbose_name)  # type: ignore[union-attr]  # no relation
    def value(run: Run) -> SafeString | str:
        stored = getattr(run, field)
        if not stored:
            return NOTHING
        shown = getattr(run, f"get_{field}_display", lambda: stored)()
        url = f"{reverse('admin:gateway_runs_run_changelist')}?{urlencode({parameter: stored})}"
        return format_html('<a href="{}" title="All runs with this value">{}</a>', url, shown)

    value.__name__ = field
    return value


@admin.display(description="run id")
def run_id(run: Run) -> str:
    """As in the logs and in x-request-id."""
    return str(run.pk)


@admin.display(description="id on the wire")
def wire_id(run: Run) -> str:
    """As the client saw it in the body."""
    return response_id(run.pk) if run.endpoint == Endpoint.RESPONSES else chat_completion_id(run.pk)


@admin.display(description="parameters")
def parameters(run: Run) -> SafeString:
    """The recorded request fields, readable."""
    text = json.dumps(run.parameters, indent=2, ensure_ascii=False, sort_keys=True, cls=DjangoJSONEncoder)
    return format_html('<pre class="gw-json" tabindex="0">{}</pre>', text)


Fieldset = tuple[str, Any]
"""The stubs know field names only; Django takes functions too."""

_REQUEST: Fieldset = (
    "Request",
    {
        "fields": (
            clickable("agent"),
            clickable("model"),
            "requested_model",
            columns.endpoint,
            run_id,
            wire_id,
            clickable("client_request_id"),
            clickable("worker"),
        )
    },
)
_WHO: Fieldset = (
    "Who asked",
    {
        "fields": (
            clickable("principal_label"),
            "principal_kind",
            "principal_id",
            clickable("client_address"),
            "user_agent",
        )
    },
)
_ABORT: Fieldset = (
    "Abort",
    {
        "fields": (
            clickable("abort_cause"),
            clickable("abort_phase"),
            clickable("abort_outcome"),
            columns.abort_latency,
            "abort_requested_by",
            "abort_reason",
        )
    },
)
_ERROR: Fieldset = ("Error", {"fields": ("error_code", "error_type", "error_message")})
_DELIVERY: Fieldset = (
    "Delivery",
    {"fields": (columns.delivered, "http_status", "finish_reason", "events_sent", "bytes_sent", "tokens_sent")},
)
_USAGE: Fieldset = (
    "Usage",
    {"fields": ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "usage_source")},
)
_PARAMETERS: Fieldset = ("Parameters", {"fields": (parameters,)})


@admin.register(Run)
class RunAdmin(CancellingAdmin):
    """Read-only for everybody: the record is written by the journal alone."""

    list_display = columns.RUN_COLUMNS
    list_filter = RUN_FILTERS
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("-received_at", "-id")
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = (
        "A run's id in any spelling (UUID, chatcmpl-…, resp_…), a principal's exact name, "
        "or the beginning of the client's own request id."
    )
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    actions = ("cancel_selected",)
    fieldsets = (_REQUEST, _WHO, _ABORT, _ERROR, _DELIVERY, _USAGE, _PARAMETERS)

    class Media:
        css = {"all": ("gateway_review/review.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Nobody."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Who has that very permission."""
        return request.user.has_perm("gateway_runs.view_run")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """From the database that the journal writes to, without what only the run's page shows."""
        return super().get_queryset(request).using(gateway_settings().DATABASE).defer("parameters")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """Exact id in any spelling, else exact principal or the beginning of the client's request id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        run_id = parse_run_id(term)
        if run_id is not None:
            found = queryset.filter(pk=run_id)
            if found.exists():  # Many clients' own request ids are UUIDs too.
                return found, False
        return queryset.filter(Q(principal_label=term) | Q(client_request_id__startswith=term)), False

    def get_fieldsets(self, request: HttpRequest, obj: Run | None = None) -> Any:
        """Without those that have nothing to say of this run."""
        silent: list[Fieldset] = []
        if obj is not None:
            if obj.abort_requested_at is None:
                silent.append(_ABORT)
            if not obj.error_code:
                silent.append(_ERROR)
            if obj.is_open:  # Both are written with the end: a zero would be no count.
                silent.append(_DELIVERY)
            if obj.is_open or obj.started_at is None:
                silent.append(_USAGE)
            if not obj.parameters:
                silent.append(_PARAMETERS)
        return [fieldset for fieldset in self.fieldsets if fieldset not in silent]

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Run | None = None,
    ) -> HttpResponse:
        """The run's page: its story, its timeline, then the fields."""
        if obj is not None:
            notes = list(obj.notes.all()[:MOST_NOTES])
            context |= {
                "story": story(obj, notes),
                "timeline": timeline(obj, notes),
                "status_badge": columns.status(obj),
                "outcome_badge": columns.outcome(obj),
                "what": columns.agent_and_model(obj),
                "endpoint": columns.endpoint(obj),
                "notes_are_cut": len(notes) == MOST_NOTES,
                "cancel_url": self.cancel_url(request, obj),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)
