"""Cancelling from the admin: a button on the run, an action on the list, one page that asks for the reason."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from gateway_project.ids import parse_run_id
from gateway_project.review.access import Onlooker, note_look
from gateway_project.review.cancelling import ask_to_cancel
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.runs.abort import AbortRequest
from gateway_project.runs.models import Run

if TYPE_CHECKING:
    RunModelAdmin = admin.ModelAdmin[Run]
else:
    RunModelAdmin = admin.ModelAdmin

MOST_AT_ONCE = 500
"""Below Django's limit of 1000 fields in a form."""

CANCEL_URL = "gateway_runs_run_cancel"


class ReasonForm(forms.Form):
    """Why: for the record."""

    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Optional. It stays in the run's record.",
    )


class CancellingAdmin(RunModelAdmin):
    """The part of `RunAdmin` that asks for aborts. It asks; the run's owner aborts."""

    def has_cancel_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Who may see runs and has the permission of its own."""
        return self.has_view_permission(request, obj) and request.user.has_perm("gateway_runs.cancel_run")

    def get_urls(self) -> list[URLPattern]:
        """The page that asks, beside the stock pages."""
        return [path("cancel/", self.admin_site.admin_view(self.cancel_view), name=CANCEL_URL), *super().get_urls()]

    def cancel_url(self, request: HttpRequest, run: Run) -> str | None:
        """Where the button leads, or None when there is nothing to ask or nobody to ask it."""
        if not run.is_open or run.abort_requested_at is not None or not self.has_cancel_permission(request, run):
            return None
        return f"{self._url(CANCEL_URL)}?run={run.pk}"

    @admin.action(permissions=["cancel"], description="Cancel selected running runs")
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Ask for a reason first. Runs that have ended are left out."""
        runs = list(queryset.open()[:MOST_AT_ONCE])  # type: ignore[attr-defined]  # a RunQuerySet
        if not runs:
            self.message_user(request, "None of the selected runs is running or queued.", messages.WARNING)
            return None
        return self._ask(request, runs, ReasonForm())

    def cancel_view(self, request: HttpRequest) -> HttpResponse:
        """GET ``?run=<id>`` shows the page that asks; POST with ``run`` (again and again) and ``reason`` cancels."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "POST"):
            return HttpResponseNotAllowed(["GET", "POST"])
        given = (request.POST if request.method == "POST" else request.GET).getlist("run")
        run_ids = [run_id for text in given if (run_id := parse_run_id(text)) is not None]
        if not run_ids or len(run_ids) < len(given):
            return HttpResponseBadRequest("Name one run or more, by their ids.")
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            runs = self.get_queryset(request).filter(pk__in=run_ids)
            if not runs:
                raise Http404
            return self._ask(request, list(runs), form)
        by, reason = request.user.get_username(), form.cleaned_data["reason"].strip()
        results = Counter(ask_to_cancel(request, run_id, by=by, reason=reason) for run_id in run_ids)
        for level, text in report(results):
            self.message_user(request, text, level)
        return HttpResponseRedirect(self._page_of(run_ids))

    def _ask(self, request: HttpRequest, runs: Sequence[Run], form: ReasonForm) -> TemplateResponse:
        onlooker = Onlooker.of(request, AccessVia.ADMIN)
        for run in runs:
            note_look(onlooker, Accessed.RUN, run_id=run.pk)
        title = "Cancel this run?" if len(runs) == 1 else f"Cancel these {len(runs)} runs?"
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "title": title,
            "original": title,
            "runs": runs,
            "form": form,
            "at_most": MOST_AT_ONCE if len(runs) == MOST_AT_ONCE else None,
            "action_url": self._url(CANCEL_URL),
            "back_url": self._page_of([run.pk for run in runs]),
        }
        return TemplateResponse(request, "admin/gateway_runs/run/cancel.html", context)

    def _page_of(self, run_ids: Sequence[uuid.UUID]) -> str:
        """The run's own page, or the list for several."""
        if len(run_ids) == 1:
            return self._url("gateway_runs_run_change", run_ids[0])
        return self._url("gateway_runs_run_changelist")

    def _url(self, name: str, *args: object) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)


def report(results: Counter[AbortRequest]) -> Iterator[tuple[int, str]]:
    """What became of the requests, as messages. Asked is not stopped, and none of them says so."""
    yield from _counted(
        messages.SUCCESS,
        results[AbortRequest.ASKED],
        "Asked. The run's worker aborts it within about a second; how it ended will be shown here.",
        "{} runs: asked. Their workers abort them within about a second.",
    )
    yield from _counted(
        messages.INFO,
        results[AbortRequest.ALREADY_ASKED],
        "Its abort had been asked already. Your request is kept as a note.",
        "{} runs: their abort had been asked already. Your request is kept as a note.",
    )
    yield from _counted(
        messages.WARNING,
        results[AbortRequest.ALREADY_ENDED],
        "One run had ended already. Nothing was changed.",
        "{} runs had ended already. Nothing was changed.",
    )
    yield from _counted(messages.ERROR, results[AbortRequest.UNKNOWN_RUN], "No such run.", "{} unknown runs.")


def _counted(level: int, count: int, one: str, many: str) -> Iterable[tuple[int, str]]:
    if count:
        yield level, one if count == 1 else many.format(count)
