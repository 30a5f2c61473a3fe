"""``/api/keys/``: API keys, made, shown once, revoked; never deleted, because the runs' history refers to them."""

import logging
from datetime import datetime
from typing import Any, TypedDict

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.conf import AGENT_NAME_CHARACTERS, did_you_mean, gateway_settings
from gateway_project.content_modes import ContentMode
from gateway_project.review.api.authentication import Operator
from gateway_project.review.api.shapes import MOST_LISTED, FlagField, MomentField, Refusal, TextField, shape_of
from gateway_project.review.api.views import Operation, OperatorView
from gateway_project.review.export import iso
from gateway_project.runs.sql import text_limits

logger = logging.getLogger("gateway.api")

_MOST_ID = (1 << 63) - 1


class KeyDict(TypedDict):
    """A key, without its text. No agents named: all of them."""

    id: int
    name: str
    prefix: str
    agents: list[str]
    operate: bool
    content: str | None
    usable: bool
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyPageDict(TypedDict):
    """Some keys, and the address of those after them."""

    next: str | None
    results: list[KeyDict]


class NewKeyDict(KeyDict):
    """A key with its text, which is shown this once."""

    key: str


class KeyListQuery(serializers.Serializer[Any]):
    """A page of the keys."""

    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=MOST_LISTED)
    cursor = serializers.IntegerField(
        required=False, min_value=0, max_value=_MOST_ID, help_text="From `next` of the page before."
    )


class KeyToMake(serializers.Serializer[Any]):
    """A key to be made."""

    name = TextField(max_length=text_limits(APIKey)["name"], help_text="Whose key it is, as the auditor shall read it.")
    agents = serializers.ListField(
        child=TextField(max_length=AGENT_NAME_CHARACTERS), required=False, default=list, help_text="None named: all."
    )
    expires_at = MomentField(required=False, allow_null=True, default=None, end_of_day=True)
    operate = FlagField(required=False, default=False, help_text="It may use this API.")
    content = serializers.ChoiceField(
        choices=ContentMode.choices,
        required=False,
        allow_blank=True,
        default="",
        help_text="How much is kept of what it asks and is answered; empty: as its agent or the settings say.",
    )

    def validate_agents(self, agents: list[str]) -> list[str]:
        """All of them are configured."""
        known = gateway_settings().AGENTS
        for agent in agents:
            if agent not in known:
                hint = did_you_mean(agent, known)
                raise serializers.ValidationError(f"No agent is named {agent!r}. {hint or ''}".rstrip())
        return agents

    def validate_expires_at(self, expires_at: datetime | None) -> datetime | None:
        """It lies ahead."""
        if expires_at is not None and expires_at <= clock.now():
            raise serializers.ValidationError("This lies in the past.")
        return expires_at


_REFUSALS = {400: Refusal, 401: Refusal, 403: Refusal}
_KEY = shape_of(KeyDict)


class KeyList(OperatorView):
    """The API keys."""

    operations = {
        "GET": Operation("gateway_access.view_apikey", {200: shape_of(KeyPageDict), **_REFUSALS}, query=KeyListQuery),
        "POST": Operation(
            "gateway_access.add_apikey",
            {201: shape_of(NewKeyDict), **_REFUSALS, 413: Refusal},
            body=KeyToMake,
        ),
    }

    def get(self, request: Request) -> Response:
        """Lists keys in the order in which they were made, also those that are revoked."""
        query = self.query()
        keys = APIKey.objects.filter(pk__gt=query.get("cursor", 0)).order_by("pk")
        found = list(keys[: query["limit"] + 1])
        shown = found[: query["limit"]]
        following = (
            replace_query_param(request.build_absolute_uri(), "cursor", str(shown[-1].pk))
            if len(found) > len(shown)
            else None
        )
        return Response({"next": following, "results": [key_as_dict(key) for key in shown]})

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        """Makes a key. Its text is in this reply and nowhere else.

        A key makes no key that may do more than itself: none that may operate, none for other agents or for longer,
        and none of which less is kept.
        """
        self.query()
        wanted = self.body()
        asker: Any = request.user
        if isinstance(asker, Operator):
            _check_within(asker.key, wanted)
        key, text = APIKey.objects.create_key(**wanted)
        logger.info("api.key_made", extra={"key": key.prefix, "by": request.user.get_username()})
        made: NewKeyDict = {**key_as_dict(key), "key": text}
        return Response(made, status=201)


class KeyRevoke(OperatorView):
    """The end of a key."""

    operations = {"POST": Operation("gateway_access.change_apikey", {200: _KEY, **_REFUSALS, 404: Refusal})}

    def post(self, request: Request, key_id: int) -> Response:
        """Revokes a key: new requests with it are refused within a second. What had been revoked stays so."""
        self.query()
        found = APIKey.objects.filter(pk=key_id) if key_id <= _MOST_ID else APIKey.objects.none()
        if found.filter(revoked_at__isnull=True).update(revoked_at=clock.now()):
            logger.info("api.key_revoked", extra={"key": key_id, "by": request.user.get_username()})
        key = found.first()
        if key is None:
            raise NotFound("There is no such key.")
        return Response(key_as_dict(key))


def key_as_dict(key: APIKey) -> KeyDict:
    """What may be seen of a key."""
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": f"gw-{key.prefix}",
        "agents": key.agents,
        "operate": key.operate,
        "content": key.content or None,
        "usable": key.is_usable,
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at) if key.expires_at else None,
        "revoked_at": iso(key.revoked_at) if key.revoked_at else None,
        "last_used_at": iso(key.last_used_at) if key.last_used_at else None,
    }


def _check_within(key: APIKey, wanted: dict[str, Any]) -> None:
    """Refuse what would do more than `key`: or else one that leaked could make itself a successor."""
    if wanted["operate"]:
        raise PermissionDenied("A key cannot make a key that may operate.")
    if key.content and wanted["content"] != key.content:
        raise PermissionDenied(f"Of this key the content is kept as {key.content!r}; say the same of the new one.")
    if key.agents and not (wanted["agents"] and set(wanted["agents"]) <= set(key.agents)):
        raise PermissionDenied(f"This key is for some agents; name which of them: {', '.join(key.agents)}.")
    if key.expires_at is not None and (wanted["expires_at"] is None or wanted["expires_at"] > key.expires_at):
        raise PermissionDenied("A key cannot make a key that outlives it.")
