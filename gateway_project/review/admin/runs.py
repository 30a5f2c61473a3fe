"""The runs in the admin: to read, to search, to cancel; never to change."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from gateway_project import clock
from gateway_project.admin_pages.bounded import BoundedPaginator
from gateway_project.admin_pages.times import NOTHING
from gateway_project.ids import chat_completion_id, response_id
from gateway_project.review.access import Onlooker, filter_of, note_look
from gateway_project.review.admin import columns, holds, integrity
from gateway_project.review.admin.accesses import VIEW_ACCESSES, latest_look, looked_at_by
from gateway_project.review.admin.cancel import CancellingAdmin
from gateway_project.review.admin.content import ContentAdmin
from gateway_project.review.admin.display import WORD_BREAK, run_link
from gateway_project.review.admin.export import ExportingAdmin
from gateway_project.review.admin.filters import RUN_FILTERS
from gateway_project.review.admin.live import LIVE_SCRIPT, unless_unchanged
from gateway_project.review.admin.older import BoundedChangeList
from gateway_project.review.admin.read_only import ReadOnlyAdmin
from gateway_project.review.admin.story import story
from gateway_project.review.admin.timeline import timeline
from gateway_project.review.admin.verifications import verification_badge
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.review.questions import SEARCHED, search
from gateway_project.review.verified import last_verification
from gateway_project.review.visibility import visible_runs
from gateway_project.runs.labels import labels_of
from gateway_project.runs.models import Run, RunQuerySet
from gateway_project.runs.record import ABORT_COLUMNS, START_COLUMNS
from gateway_project.runs.seals.canonical import RUN
from gateway_project.runs.vocabulary import Endpoint

MOST_NOTES = 500
MOST_CHILDREN = 10


def clickable(field: str) -> Callable[[Run], SafeString | str]:
    """A field of the run's page that leads to all runs with the same value."""

    @admin.display(description=Run._meta.get_field(field).verbose_name)  # type: ignore[union-attr]  # no relation
    def value(run: Run) -> SafeString | str:
        stored = getattr(run, field)
        if not stored:
            return NOTHING
        shown = getattr(run, f"get_{field}_display", lambda: stored)()
        return columns.thread(field, stored, shown)

    value.__name__ = field
    return value


@admin.display(description="run id")
def run_id(run: Run) -> str:
    """As in the logs and in x-request-id."""
    return str(run.pk)


@admin.display(description="id on the wire")
def wire_id(run: Run) -> str:
    """As the client saw it in the body."""
    return chat_completion_id(run.pk) if run.endpoint == Endpoint.CHAT_COMPLETIONS else response_id(run.pk)


@admin.display(description="background")
def background(run: Run) -> str:
    """In a word: the stock mark for "no" looks like a fault."""
    return "Yes" if run.background else "No"


@admin.display(description="parent run")
def parent_run(run: Run) -> SafeString | str:
    """The run whose response this one continues."""
    return NOTHING if run.parent_run is None else run_link(run.parent_run)


@admin.display(description="key")
def principal_id(run: Run) -> SafeString | str:
    """Who asked, by an id that stays; an API key's leads to all its runs, under whatever name."""
    if run.principal_kind != "api_key" or not run.principal_id:
        return run.principal_id or NOTHING
    url = f"{reverse('admin:gateway_runs_run_changelist')}?{urlencode({'key': run.principal_id})}"
    return format_html('<a class="gw-thread" href="{}" title="All runs with this key">{}</a>', url, run.principal_id)


def children_among(runs: RunQuerySet) -> Callable[[Run], SafeString | str]:
    """The runs of the responses that were made from this one's, of those that may be seen; the list has them all."""

    @admin.display(description="runs that continue it")
    def children(run: Run) -> SafeString | str:
        found = list(runs.filter(parent_run=run.pk).newest_first()[:MOST_CHILDREN])
        if not found:
            return NOTHING
        links = format_html_join(
            WORD_BREAK,
            '<a href="{}">{}</a> ',
            [(reverse("admin:gateway_runs_run_change", args=(child.pk,)), child.pk) for child in found],
        )
        return format_html("{} {}", links, columns.thread("parent_run", run.pk, "List them"))

    return children


@admin.display(description="parameters")
def parameters(run: Run) -> SafeString:
    """The recorded request fields, readable."""
    text = json.dumps(run.parameters, indent=2, ensure_ascii=False, sort_keys=True, cls=DjangoJSONEncoder)
    return format_html('<pre class="gw-json" tabindex="0">{}</pre>', text)


@admin.display(description="labels")
def labels(run: Run) -> SafeString | str:
    """What the client called the run, each leading to all runs that it called so."""
    address = reverse("admin:gateway_runs_run_changelist")
    links = [
        (name, f"{address}?{urlencode({'q': f'{name}:{value}'})}", f"All runs with this {name}", value)
        for name, value in labels_of(run.parameters)
    ]
    if not links:
        return NOTHING
    return format_html_join(WORD_BREAK, '{}: <a class="gw-thread" href="{}" title="{}">{}</a> ', links)


Fieldset = tuple[str, Any]
"""The stubs know field names only; Django takes functions too."""


def request_fields(runs: RunQuerySet) -> Fieldset:
    """What was asked, and what `runs` have to do with it."""
    fields = (
        clickable("agent"),
        clickable("model"),
        "requested_model",
        columns.endpoint,
        run_id,
        wire_id,
        clickable("client_request_id"),
        parent_run,
        children_among(runs),
        background,
        clickable("worker"),
    )
    return "Request", {"fields": fields}


_WHO: Fieldset = (
    "Who asked",
    {
        "fields": (
            clickable("principal_label"),
            "principal_kind",
            principal_id,
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
_INTEGRITY: Fieldset = ("Integrity", {"fields": (integrity.this_run, integrity.last_verification, holds.of_run)})
_LOOKS: Fieldset = ("Who looked", {"fields": (looked_at_by,)})
_PARAMETERS: Fieldset = ("Parameters", {"fields": (labels, parameters)})


@admin.register(Run)
class RunAdmin(CancellingAdmin, ContentAdmin, ExportingAdmin, ReadOnlyAdmin):
    """Read-only for everybody: the record is written by the journal alone."""

    list_display = columns.RUN_COLUMNS
    list_filter = RUN_FILTERS
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("-received_at", "-id")
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = f"{SEARCHED[0].upper()}{SEARCHED[1:]}."
    change_form_template = None  # that of the run
    paginator = BoundedPaginator
    actions = ("cancel_selected",)
    fieldsets = (_WHO, _ABORT, _ERROR, _DELIVERY, _USAGE, _PARAMETERS, _INTEGRITY, _LOOKS)

    class Media:
        js = (Script(LIVE_SCRIPT, defer=True),)

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Who has that very permission."""
        return request.user.has_perm("gateway_runs.view_run")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Those that this user may know of, without what only the run's page shows."""
        return visible_runs(request).order_by(*self.ordering).defer("parameters")

    def filter_parameters(self, request: HttpRequest) -> frozenset[str]:
        """Also the ends of a time range."""
        return super().filter_parameters(request) | {"since", "until"}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that never asks for more rows than it shows."""
        return BoundedChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list. That of the open runs keeps itself fresh; one that is cut goes on with older runs."""
        response = super().changelist_view(request, extra_context)
        if not isinstance(response, TemplateResponse) or "cl" not in (response.context_data or {}):
            return response
        assert response.context_data is not None
        changes: BoundedChangeList = response.context_data["cl"]
        response.context_data |= {
            "is_live": request.GET.get("question") == "running",
            "older_url": changes.older_url(),
            "verification_badge": verification_badge(request, verification := last_verification()),
        }
        shown = [(run.pk, run.status, run.abort_requested_at) for run in changes.result_list]
        verified = verification and verification.pk
        fresh = unless_unchanged(request, lambda: response, shown, changes.result_count, verified)
        if fresh.status_code == HTTPStatus.OK:
            note_look(Onlooker.of(request, AccessVia.ADMIN), Accessed.LIST, asked=filter_of(request))
        return fresh

    def get_search_fields(self, request: HttpRequest) -> Any:
        """None for the lists that forms complete a relation from, which are refused then: they leave no look."""
        match = request.resolver_match
        return () if match is not None and match.url_name == "autocomplete" else super().get_search_fields(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """What `questions.search` finds."""
        term = search_term.strip()
        return (queryset.filter(search(queryset, term)) if term else queryset), False

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
        if not request.user.has_perm(VIEW_ACCESSES):
            silent.append(_LOOKS)
        telling = [fieldset for fieldset in self.fieldsets if fieldset not in silent]
        return [request_fields(visible_runs(request)), *telling]

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
                "hold_url": holds.url_to_set(request, obj),
                "content_url": self.content_url(request, obj),
                "is_erased": obj.seal is not None and "identity" in RUN.erased({"salts": obj.salts}),
                "now": clock.now(),
            }
        response = super().render_change_form(request, context, add, change, form_url, obj)
        if obj is None:
            return response
        changing = [getattr(obj, column) for column in (*START_COLUMNS, *ABORT_COLUMNS, "finished_at")]
        links = context["cancel_url"], context["content_url"]
        onlooker = Onlooker.of(request, AccessVia.ADMIN)
        look = latest_look(obj.pk, but_of=onlooker) if request.user.has_perm(VIEW_ACCESSES) else None
        fresh = unless_unchanged(request, lambda: response, changing, [note.pk for note in notes], links, look)
        if fresh.status_code == HTTPStatus.OK:
            note_look(onlooker, Accessed.RUN, run_id=obj.pk)
        return fresh
