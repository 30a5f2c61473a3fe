"""Exporting from the admin: what the list shows now, as a file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from gateway_project.review.access import Onlooker, filter_of, note_look
from gateway_project.review.download import MEDIA_TYPES, download
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.review.questions import QUESTIONS, complaint, moments
from gateway_project.runs.models import Run

if TYPE_CHECKING:
    RunModelAdmin = admin.ModelAdmin[Run]
else:
    RunModelAdmin = admin.ModelAdmin

EXPORT_URL = "gateway_runs_run_export"

_LABELS = {"csv": "Export CSV", "jsonl": "Export JSON lines"}


PARAMETERS = frozenset({*QUESTIONS, "since", "until", "q"})
"""What narrows an export."""


def wrong_in(asked: Mapping[str, str]) -> str | None:
    """What is no filter, or no value of one, in words. A misspelt filter must not export everything."""
    for name, value in asked.items():
        if name not in PARAMETERS:
            return f"There is no such parameter: {name!r}."
        if name in QUESTIONS and (wrong := complaint(name, value)):
            return wrong
    return None


class ExportingAdmin(RunModelAdmin):
    """The part of `RunAdmin` that exports. The address of an export bears the same filters as the list's."""

    def get_urls(self) -> list[URLPattern]:
        """The file, beside the stock pages."""
        return [path("export/", self.admin_site.admin_view(self.export_view), name=EXPORT_URL), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """GET ``?format=csv|jsonl`` and the list's parameters."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.dict()
        format_ = asked.pop("format", "")
        if format_ not in MEDIA_TYPES:
            return HttpResponseBadRequest(f"The format is one of: {', '.join(MEDIA_TYPES)}.")
        if problem := wrong_in(asked):
            return HttpResponseBadRequest(problem, content_type="text/plain; charset=utf-8")
        try:
            between = moments(asked)
        except ValueError as error:
            return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
        note_look(Onlooker.of(request, AccessVia.ADMIN), Accessed.EXPORT, asked=filter_of(request))
        return download(request, asked, format_, term=asked.pop("q", "").strip(), **between)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the addresses of what it lists as files."""
        url = reverse(f"admin:{EXPORT_URL}", current_app=self.admin_site.name)
        links = []
        for format_, label in _LABELS.items():
            asked = {name: value for name, value in request.GET.dict().items() if name in PARAMETERS}
            links.append((label, f"{url}?{urlencode(asked | {'format': format_})}"))
        return super().changelist_view(request, {"exports": links, **(extra_context or {})})
