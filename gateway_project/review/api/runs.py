"""``/api/runs/``: look at runs, cancel one, export them."""

import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from django.http import StreamingHttpResponse
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gateway_project.ids import chat_completion_id, parse_run_id, response_id
from gateway_project.review.access import NotRecorded, Onlooker, filter_of, note_look, record_look
from gateway_project.review.api.errors import LookNotRecorded
from gateway_project.review.api.shapes import (
    ExportQuery,
    Reason,
    Refusal,
    RunListQuery,
    shape_of,
)
from gateway_project.review.api.timeline import EventDict, events
from gateway_project.review.api.views import Operation, OperatorView, django_request
from gateway_project.review.cancelling import ask_to_cancel
from gateway_project.review.content import VIEW_CONTENT, ContentDict, content_as_dict, content_of
from gateway_project.review.download import MEDIA_TYPES, download
from gateway_project.review.export import RunDict, run_as_dict
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.review.paging import Selection
from gateway_project.review.questions import QUESTIONS
from gateway_project.review.visibility import visible_runs
from gateway_project.runs.abort import AbortRequest
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import Endpoint

MOST_NOTES = 500

VIEW = "gateway_runs.view_run"
CANCEL = "gateway_runs.cancel_run"

_STATUSES = {
    AbortRequest.ASKED: 202,
    AbortRequest.ALREADY_ASKED: 202,
    AbortRequest.ALREADY_ENDED: 409,
    AbortRequest.UNKNOWN_RUN: 404,
}


class RunPageDict(TypedDict):
    """Some runs, and the address of those after them."""

    next: str | None
    results: list[RunDict]


class RunDetailDict(RunDict):
    """A run with all that is known of it."""

    wire_id: str
    user_agent: str | None
    parameters: dict[str, Any]
    timeline: list[EventDict]


class CancellationDict(TypedDict):
    """What became of the wish."""

    id: str
    result: str


_REFUSALS = {400: Refusal, 401: Refusal, 403: Refusal}


class RunList(OperatorView):
    """The runs that you may see."""

    operations = {
        "GET": Operation(VIEW, {200: shape_of(RunPageDict), **_REFUSALS}, query=RunListQuery),
    }

    def get(self, request: Request) -> Response:
        """Lists runs, the newest first.

        Follow `next` until it is null: what no index has is looked for among so many runs at a time, so a page may
        hold fewer runs than `limit`, even none, before the last.
        """
        query = self.query()
        page = _selection(request, query).page(query.get("cursor"), size=query["limit"], newest_first=True)
        address = request.build_absolute_uri()
        _note(request, Accessed.LIST, asked=filter_of(django_request(request)))
        following = replace_query_param(address, "cursor", str(page.next)) if page.next else None
        return Response({"next": following, "results": [run_as_dict(run) for run in page.runs]})


class RunDetail(OperatorView):
    """One run."""

    operations = {"GET": Operation(VIEW, {200: shape_of(RunDetailDict), **_REFUSALS, 404: Refusal})}

    def get(self, request: Request, run_id: str) -> Response:
        """Shows one run, with its timeline. The id may be spelled as on the wire."""
        self.query()
        run = seen_run(request, run_id)
        _note(request, Accessed.RUN, run_id=run.pk)
        shown: RunDetailDict = {
            **run_as_dict(run),
            "wire_id": (chat_completion_id if run.endpoint == Endpoint.CHAT_COMPLETIONS else response_id)(run.pk),
            "user_agent": run.user_agent or None,
            "parameters": run.parameters,
            "timeline": events(run, run.notes.all()[:MOST_NOTES]),
        }
        return Response(shown)


class RunContentDetail(OperatorView):
    """What one run was asked and answered."""

    operations = {
        "GET": Operation(
            VIEW_CONTENT,
            {200: shape_of(ContentDict), **_REFUSALS, 404: Refusal, 503: Refusal},
            beside=VIEW,
        )
    }

    def get(self, request: Request, run_id: str) -> Response:
        """Shows what one run was asked and answered, as far as it is kept. Each look is recorded, or it is none."""
        self.query()
        run = seen_run(request, run_id, "pk")
        try:
            record_look(Onlooker.of(django_request(request), AccessVia.API), Accessed.CONTENT, run_id=run.pk)
        except NotRecorded:
            raise LookNotRecorded from None
        content = content_of(run.pk)
        if content is None:
            raise NotFound("Nothing is kept of what this run was asked and answered.")
        return Response(content_as_dict(content))


class RunCancel(OperatorView):
    """The wish that a run be cancelled."""

    operations = {
        "POST": Operation(
            CANCEL,
            {
                **dict.fromkeys((202, 409), shape_of(CancellationDict)),
                **_REFUSALS,
                404: (shape_of(CancellationDict), Refusal),
                413: Refusal,
            },
            body=Reason,
        ),
    }

    def post(self, request: Request, run_id: str) -> Response:
        """Asks that a run be cancelled; its owner hears of it within a second.

        202 says that the wish is written, not that the agent has stopped: that is in the run afterwards. 409: it had
        ended already.
        """
        self.query()
        reason = self.body()["reason"]
        by = str(request.user.get_username())
        found = _known(run_id)
        result = ask_to_cancel(django_request(request), found, by=by, reason=reason)
        return Response({"id": str(found), "result": result.value}, status=_STATUSES[result])


class RunExport(OperatorView):
    """The runs as a file."""

    operations = {
        "GET": Operation(VIEW, {200: None, **_REFUSALS}, query=ExportQuery, media_types=tuple(MEDIA_TYPES.values())),
    }

    def get(self, request: Request) -> StreamingHttpResponse:
        """Exports runs as JSON lines or CSV, the oldest first, up to now.

        The file is made while it is sent. In CSV a cell that a spreadsheet would run begins with an apostrophe.
        """
        query = self.query()
        _note(request, Accessed.EXPORT, asked=filter_of(django_request(request)))
        return download(django_request(request), query, query["format"], **_beside(query))


def _note(request: Request, what: Accessed, *, run_id: uuid.UUID | None = None, asked: str = "") -> None:
    note_look(Onlooker.of(django_request(request), AccessVia.API), what, run_id=run_id, asked=asked)


NO_RUN = "There is no such run."


def seen_run(request: Request, run_id: str, *columns: str) -> Run:
    """The run with this id, in any spelling, if whoever asks may know of it; with all columns, or only some.

    Raises:
        NotFound: when there is none, or not for whoever asks.
    """
    runs = visible_runs(django_request(request)).filter(pk=_known(run_id))
    run: Run | None = (runs.only(*columns) if columns else runs).first()
    if run is None:
        raise NotFound(NO_RUN)
    return run


def _known(text: str) -> uuid.UUID:
    run_id = parse_run_id(text)
    if run_id is None:
        raise NotFound(NO_RUN)
    return run_id


def _selection(request: Request, query: Mapping[str, Any]) -> Selection:
    return Selection(visible_runs(django_request(request)), query, **_beside(query))


def _beside(query: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked beside the questions."""
    assert not {"q", "since", "until"} & QUESTIONS.keys()
    return {"term": query.get("q", ""), "since": query.get("since"), "until": query.get("until")}
