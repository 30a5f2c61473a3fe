"""``/api/seals/``: is the record what was sealed, as far as the last verification knows; and where the chains end."""

import uuid
from typing import Any, TypedDict

from django.db import connections
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gateway_project.conf import gateway_settings
from gateway_project.review.api.shapes import MOST_LISTED, Refusal, shape_of
from gateway_project.review.api.views import Operation, OperatorView, django_request
from gateway_project.review.export import iso
from gateway_project.review.verified import last_verification
from gateway_project.review.visibility import sees_all_runs
from gateway_project.runs.models import Chain, Verification
from gateway_project.runs.seals.chain import unnamed_heads
from gateway_project.runs.seals.rows import as_utc

VIEW = "gateway_runs.view_seal"


class VerificationDict(TypedDict):
    """A walk of ``verifyruns`` that came to its end. `first_break` is for who may see all runs: it may name one."""

    id: int
    started_at: str
    finished_at: str
    clean: bool
    seals: int
    rows: int
    breaks: dict[str, int]
    first_break: str | None


class HeadDict(TypedDict):
    """Where a chain ends that no other one names as it is: what is to be anchored."""

    chain: str
    number: int
    hash: str


class ChainDict(TypedDict):
    """One writer's chain."""

    id: str
    writer: str
    number: int
    hash: str
    sealed_at: str


class SealsDict(TypedDict):
    """`clean` is null when nothing was ever verified. `results` are chains, those begun last first."""

    clean: bool | None
    verification: VerificationDict | None
    heads: list[HeadDict]
    next: str | None
    results: list[ChainDict]


class SealsQuery(serializers.Serializer[Any]):
    """A page of the chains."""

    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=MOST_LISTED)
    cursor = serializers.UUIDField(required=False, help_text="From `next` of the page before.")


class SealState(OperatorView):
    """The seals."""

    operations = {
        "GET": Operation(VIEW, {200: shape_of(SealsDict), **dict.fromkeys((400, 401, 403), Refusal)}, query=SealsQuery)
    }

    def get(self, request: Request) -> Response:
        """Shows what the last verification found, and where the chains of seals end now.

        It is not verified for this reply: run `manage.py verifyruns` as often as you want to know.
        """
        query = self.query()
        alias = gateway_settings().DATABASE
        verification = last_verification()
        chains = Chain.objects.using(alias).order_by("-pk")
        if "cursor" in query:
            chains = chains.filter(pk__lt=query["cursor"])
        found = list(chains[: query["limit"] + 1])
        shown = found[: query["limit"]]
        following = _page_after(request, shown[-1].pk) if len(found) > len(shown) else None
        heads = unnamed_heads(connections[alias])
        state: SealsDict = {
            "clean": verification.is_clean if verification else None,
            "verification": _verification(verification, names=sees_all_runs(django_request(request))),
            "heads": [{"chain": str(head.chain), "number": head.number, "hash": head.hash.hex()} for head in heads],
            "next": following,
            "results": [_chain(chain) for chain in shown],
        }
        return Response(state)


def _page_after(request: Request, chain: uuid.UUID) -> str:
    return str(replace_query_param(request.build_absolute_uri(), "cursor", str(chain)))


def _verification(walk: Verification | None, *, names: bool) -> VerificationDict | None:
    if walk is None or walk.finished_at is None:
        return None
    return {
        "id": walk.pk,
        "started_at": iso(walk.started_at),
        "finished_at": iso(walk.finished_at),
        "clean": walk.is_clean,
        "seals": walk.seals,
        "rows": walk.rows,
        "breaks": walk.breaks,
        "first_break": (walk.first_break or None) if names else None,
    }


def _chain(chain: Chain) -> ChainDict:
    return {
        "id": str(chain.pk),
        "writer": chain.writer,
        "number": chain.head_number,
        "hash": bytes(chain.head_hash).hex(),
        "sealed_at": iso(as_utc(chain.head_at)),
    }
