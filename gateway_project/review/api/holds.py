"""``/api/runs/{id}/hold``: keep a run from being purged or erased, and let it go again. The admin's rules hold."""

import uuid
from collections.abc import Sequence
from typing import Any, TypedDict

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.conf import gateway_settings
from gateway_project.review.api.runs import NO_RUN, seen_run
from gateway_project.review.api.shapes import Refusal, TextField, shape_of
from gateway_project.review.api.views import Operation, OperatorView
from gateway_project.review.export import iso
from gateway_project.runs.retention.holds import UnknownRun, is_held, lift_hold, set_hold
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.sql import text_limits

SET = "gateway_runs.set_legal_hold"


class HoldDict(TypedDict):
    """A legal hold on a run."""

    id: int
    reason: str
    set_by: str
    set_at: str
    lifted_by: str | None
    lifted_at: str | None
    lift_reason: str | None


class RunHoldDict(TypedDict):
    """What was set, or lifted, and whether the run is held now: maybe by another hold, or by one on its principal."""

    id: str
    held: bool
    results: list[HoldDict]


class HoldReason(serializers.Serializer[Any]):
    """Why; it must be said."""

    reason = TextField(max_length=text_limits(LegalHold)["reason"], help_text="It stays in the record.")


_REFUSALS = {400: Refusal, 401: Refusal, 403: Refusal, 404: Refusal}
_SHAPE = shape_of(RunHoldDict)


class RunHold(OperatorView):
    """Legal holds on one run."""

    operations = {
        "POST": Operation(SET, {201: _SHAPE, **_REFUSALS, 413: Refusal}, body=HoldReason),
        "DELETE": Operation(SET, {200: _SHAPE, 409: _SHAPE, **_REFUSALS}, query=HoldReason),
    }

    def post(self, request: Request, run_id: str) -> Response:
        """Sets a legal hold on a run: until it is lifted, nothing purges or erases the run and what belongs to it.

        A run may have several holds; each request sets one more.
        """
        self.query()
        reason = self.body()["reason"]
        run = seen_run(request, run_id, "pk").pk
        try:
            hold = set_hold(run=run, by=request.user.get_username(), reason=reason)
        except UnknownRun:  # It was purged just now.
            raise NotFound(NO_RUN) from None
        return Response(_shown(run, [hold]), status=201)

    def delete(self, request: Request, run_id: str) -> Response:
        """Lifts all legal holds that were set on this run itself; one on its principal stays. 409: there was none."""
        reason = self.query()["reason"]
        run = seen_run(request, run_id, "pk").pk
        holds = LegalHold.objects.using(gateway_settings().DATABASE).filter(run=run)
        by = request.user.get_username()
        lifted = [pk for pk in holds.in_force().values_list("pk", flat=True) if lift_hold(pk, by=by, reason=reason)]
        return Response(_shown(run, list(holds.filter(pk__in=lifted))), status=200 if lifted else 409)


def _shown(run: uuid.UUID, holds: Sequence[LegalHold]) -> RunHoldDict:
    return {"id": str(run), "held": is_held(run), "results": [_hold(hold) for hold in holds]}


def _hold(hold: LegalHold) -> HoldDict:
    return {
        "id": hold.pk,
        "reason": hold.reason,
        "set_by": hold.set_by,
        "set_at": iso(hold.set_at),
        "lifted_by": hold.lifted_by or None,
        "lifted_at": iso(hold.lifted_at) if hold.lifted_at else None,
        "lift_reason": hold.lift_reason or None,
    }
