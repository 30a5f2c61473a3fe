"""An operator's wish that a run be cancelled, wherever it is uttered: only for runs that the operator may know of."""

import uuid

from django.http import HttpRequest

from gateway_project.review.visibility import visible_runs
from gateway_project.runs.abort import AbortRequest, request_abort
from gateway_project.runs.vocabulary import AbortCause


def ask_to_cancel(request: HttpRequest, run_id: uuid.UUID, *, by: str, reason: str) -> AbortRequest:
    """Ask that the run be aborted. One that may not be seen is as unknown as one that is not there. Blocking."""
    if not visible_runs(request).filter(pk=run_id).exists():
        return AbortRequest.UNKNOWN_RUN
    return request_abort(run_id, AbortCause.OPERATOR_CANCELLED, by=by, reason=reason)
