"""The operators' REST API: cancel a run. For sessions with the permission, and for API keys that may operate."""

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from gateway_project.access.models import APIKey
from gateway_project.ids import parse_run_id
from gateway_project.runs.abort import AbortRequest, request_abort
from gateway_project.runs.vocabulary import AbortCause

_STATUSES = {
    AbortRequest.ASKED: 202,
    AbortRequest.ALREADY_ASKED: 202,
    AbortRequest.ALREADY_ENDED: 409,
    AbortRequest.UNKNOWN_RUN: 404,
}


@csrf_exempt  # checked below, for whoever comes with a session
@require_POST
def cancel_run(request: HttpRequest, run_id: str) -> JsonResponse:
    """``POST /api/runs/{id}/cancel``, with an optional body ``{"reason": "…"}``.

    The id may be spelled as on the wire. Replies ``{"id", "result"}``: 202 when the wish is written (the owner
    hears of it within a second; whether the agent stopped is in the run), 404, or 409 when the run has ended.
    """
    by = _operator(request)
    if isinstance(by, JsonResponse):
        return by
    reason = _reason(request)
    if reason is None:
        return _refused(400, "The body must be a JSON object with a text 'reason', or empty.")
    found = parse_run_id(run_id)
    if found is None:
        return _refused(404, "That is no run's id.")
    result = request_abort(found, AbortCause.OPERATOR_CANCELLED, by=by, reason=reason)
    return JsonResponse({"id": str(found), "result": result.value}, status=_STATUSES[result])


def _operator(request: HttpRequest) -> str | JsonResponse:
    """Who asks, as the auditor shall read it; or the refusal."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        key = APIKey.objects.find(token.strip())
        if key is None:
            return _refused(401, "Incorrect API key provided.")
        return f"API key {key.name}" if key.operate else _refused(403, "This key may not operate.")
    user = request.user
    if not user.is_authenticated:
        return _refused(401, "Log in, or send an API key that may operate.")
    if not user.has_perm("gateway_runs.cancel_run"):
        return _refused(403, "You may not cancel runs.")
    if CsrfViewMiddleware(_any_view).process_view(request, _any_view, (), {}) is not None:
        return _refused(403, "The CSRF token is missing or wrong.")
    return str(user.get_username())


def _any_view(request: HttpRequest) -> JsonResponse:
    """What the CSRF check takes for the view: one that is not exempt."""
    return JsonResponse({})


def _reason(request: HttpRequest) -> str | None:
    if not request.body:
        return ""
    try:
        body: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    reason = body.get("reason", "") if isinstance(body, dict) else None
    return reason if isinstance(reason, str) else None


def _refused(status: int, message: str) -> JsonResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JsonResponse({"error": error}, status=status)
