"""An export as a download that is made while it is sent: constant memory, however many runs there are."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from gateway_project import clock
from gateway_project.review.export import BATCH, FORMATS, runs_in_order
from gateway_project.review.paging import Selection
from gateway_project.review.visibility import visible_runs

MEDIA_TYPES: Mapping[str, str] = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def download(
    request: HttpRequest,
    asked: Mapping[str, str],
    format_: str,
    *,
    term: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> StreamingHttpResponse:
    """The runs that match and that may be seen, the oldest first, up to now."""
    now = clock.now()
    runs = Selection(visible_runs(request), asked, term=term, since=since, until=until or now)
    pieces: Any = pieces_of(FORMATS[format_](runs_in_order(runs)))
    if isinstance(request, ASGIRequest):  # Django would first collect what comes from a plain iterator.
        pieces = in_thread(pieces)
    return StreamingHttpResponse(
        pieces,
        content_type=MEDIA_TYPES[format_],
        headers={
            "Content-Disposition": f'attachment; filename="runs-{now:%Y%m%dT%H%M%SZ}.{format_}"',
            "Cache-Control": "no-store",
        },
    )


def pieces_of(lines: Iterator[str], *, count: int = BATCH) -> Iterator[str]:
    """So many lines at a time."""
    while piece := "".join(islice(lines, count)):
        yield piece


async def in_thread(pieces: Iterator[str]) -> AsyncIterator[str]:
    """`pieces`, each made in the request's thread, where its database connection is."""

    def make() -> str | None:
        return next(pieces, None)

    while (piece := await sync_to_async(make, thread_sensitive=True)()) is not None:
        yield piece
