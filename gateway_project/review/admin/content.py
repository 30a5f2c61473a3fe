"""What a run was asked and answered, on a page of its own: a permission of its own, and each look is recorded."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from gateway_project.conf import gateway_settings
from gateway_project.ids import parse_run_id
from gateway_project.review.access import NotRecorded, Onlooker, record_look
from gateway_project.review.content import (
    VIEW_CONTENT,
    ContentDict,
    PieceDict,
    content_as_dict,
    content_of,
    has_content,
)
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.review.visibility import visible_runs
from gateway_project.runs.models import Run, RunContent
from gateway_project.runs.seals.batch import EntryKind
from gateway_project.runs.seals.check import check_row

if TYPE_CHECKING:
    RunModelAdmin = admin.ModelAdmin[Run]
else:
    RunModelAdmin = admin.ModelAdmin

CONTENT_URL = "gateway_runs_run_content"

MOST_SHOWN = 50_000
"""Characters of the request, and of the answer, on the page; the API has all that is kept."""
MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as the page shows it. `rest` did not reach the client; `hidden` characters are not shown."""

    text: str
    rest: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A message, or a piece of the answer: who or what it is, and its texts."""

    heading: str
    texts: list[Shown] = field(default_factory=list)


class ContentAdmin(RunModelAdmin):
    """The part of `RunAdmin` that shows content."""

    def has_content_permission(self, request: HttpRequest) -> bool:
        """Who may see runs and has the permission of its own."""
        return self.has_view_permission(request) and request.user.has_perm(VIEW_CONTENT)

    def get_urls(self) -> list[URLPattern]:
        """The page, beside the stock pages."""
        view = self.admin_site.admin_view(self.content_view)
        return [path("<path:run_id>/content/", view, name=CONTENT_URL), *super().get_urls()]

    def content_url(self, request: HttpRequest, run: Run) -> str | None:
        """Where the button leads; None where nothing is kept, or for who may not even know that."""
        if not self.has_content_permission(request) or not has_content(run.pk):
            return None
        return reverse(f"admin:{CONTENT_URL}", args=(run.pk,), current_app=self.admin_site.name)

    def content_view(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """GET. First the look is recorded, and only then is anything read."""
        if not self.has_content_permission(request):
            raise PermissionDenied
        known = parse_run_id(run_id)
        run = visible_runs(request).filter(pk=known).first() if known is not None else None
        if run is None:
            raise Http404
        try:
            record_look(Onlooker.of(request, AccessVia.ADMIN), Accessed.CONTENT, run_id=run.pk)
        except NotRecorded:
            text = "It cannot be recorded now that you look at this, so it is not shown. Please try again later."
            return HttpResponse(
                text, status=503, content_type="text/plain; charset=utf-8", headers={"Retry-After": "1"}
            )
        content = content_of(run.pk)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "title": "What was asked and answered",
            "original": run,
            "run": run,
            "content": content,
            "back_url": reverse("admin:gateway_runs_run_change", args=(run.pk,), current_app=self.admin_site.name),
            **(_shown(content) if content is not None else {}),
        }
        response = TemplateResponse(request, "admin/gateway_runs/run/content.html", context)
        response["Cache-Control"] = "no-store"
        return response


def _shown(content: RunContent) -> dict[str, Any]:
    plain = content_as_dict(content)
    checked = check_row(EntryKind.CONTENT, content.pk, connections[gateway_settings().DATABASE])
    return {
        "plain": plain,
        "asked": list(_messages(plain)) if plain["request"] else [],
        "settings": _settings(plain["request"] or {}),
        "answered": list(_pieces(plain["answer"] or ())),
        "integrity": checked.state.value,
    }


def _messages(plain: ContentDict) -> Iterator[Part]:
    """The newest ones as far as there is room, in their order."""
    room = _Room()
    parts: list[Part] = []
    messages = list((plain["request"] or {}).get("messages", ()))
    for message in reversed(messages[-MOST_PARTS:]):
        if room.left <= 0:
            break
        parts.append(Part(_heading(message), [room.shown(text) for text in _texts(message)]))
    if len(parts) < len(messages):
        yield Part(f"{len(messages) - len(parts)} earlier messages are not shown here")
    yield from reversed(parts)


def _heading(message: Mapping[str, Any]) -> str:
    name = message.get("name") or message.get("tool_call_id")
    return f"{message.get('role', '')} {name}" if name else str(message.get("role", ""))


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    for part in message.get("content", ()):
        text = part.get("text", part.get("refusal"))
        yield text if isinstance(text, str) else _spelled(part)
    for call in message.get("tool_calls", ()):
        yield _spelled(call)


def _settings(request: Mapping[str, Any]) -> Shown | None:
    rest = {key: value for key, value in request.items() if key not in ("messages", "messages_left_out")}
    return _Room().shown(_spelled(rest)) if rest else None


def _pieces(pieces: Iterable[PieceDict]) -> Iterator[Part]:
    room = _Room()
    for number, piece in enumerate(pieces):
        if room.left <= 0 or number >= MOST_PARTS:
            yield Part("More pieces are not shown here")
            return
        words = [piece["type"].replace("_", " "), piece["name"], piece["phase"]]
        if piece["choice"]:
            words.append(f"(choice {piece['choice']})")
        yield Part(" ".join(word for word in words if word), [room.shown(piece["text"], piece["delivered"])])


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


@dataclass(slots=True)
class _Room:
    """How much may still be shown."""

    left: int = MOST_SHOWN

    def shown(self, text: str, delivered: int | None = None) -> Shown:
        kept = text[: max(self.left, 0)]
        self.left -= len(kept)
        split = len(kept) if delivered is None else delivered
        return Shown(kept[:split], kept[split:], len(text) - len(kept))
