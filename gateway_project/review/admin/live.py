"""Pages that keep themselves fresh: a script asks for the page again, and hears in a few bytes that nothing changed."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import get_conditional_response

LIVE_SCRIPT = "gateway_review/live.js"


def unless_unchanged(request: HttpRequest, make: Callable[[], HttpResponse], *state: Any) -> HttpResponse:
    """What `make` makes, with an ETag of `state`; or 304 without making it, when the asker has that already.

    `state` must hold all that the page's live parts show, save the time that goes by.
    """
    seen = (getattr(request.user, "pk", None), *state)
    etag = f'"{hashlib.sha256(repr(seen).encode()).hexdigest()[:32]}"'
    unchanged = get_conditional_response(request, etag=etag)
    if isinstance(unchanged, HttpResponseNotModified):
        return unchanged
    response = make()
    response["ETag"] = etag
    return response
