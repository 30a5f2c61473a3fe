"""Stored responses: read again, followed, cancelled, deleted, and what they were asked.

Source: OpenAI's OpenAPI file, ``/responses/{response_id}`` and below.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer
from django.db import connections, transaction

from gateway_project import clock, ids
from gateway_project.access.principal import Principal
from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.abort import request_abort
from gateway_project.runs.journal import Note
from gateway_project.runs.record import NoteRecord
from gateway_project.runs.retention.holds import held_among, keep_holds_out
from gateway_project.runs.vocabulary import AbortCause, NoteKind
from gateway_project.transport import sse
from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.consumer import GatewayConsumer
from gateway_project.transport.errors import APIError, InvalidValue

from .context import earlier_items, parse_response_id
from .conversation import Item
from .dialect import dialect_of
from .following import StreamFollower, ended
from .listing import listed
from .lost import settle_if_lost
from .models import StoredResponse
from .reading import read
from .store import responses_of

_CANCEL_SECONDS = 5.0
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


class ResponseNotFound(APIError):
    """No such response, or somebody else's: the two look the same."""

    status = 404
    code = "response_not_found"

    def __init__(self, id_: str) -> None:
        super().__init__(f"Response with id {id_!r} not found.", param="id")


class StoredConsumer(GatewayConsumer):
    """A request about a response that exists."""

    left_out: ClassVar[tuple[str, ...]] = ("request", "input")
    """Columns that are not loaded: each may be as large as a body may be."""

    async def find(self) -> StoredResponse:
        """The response that the path names, as it is now.

        Raises:
            ResponseNotFound: when there is none for this principal.
        """
        wanted = self.scope["url_route"]["kwargs"]["id"]
        id_ = parse_response_id(wanted)
        response = await self._load(id_) if id_ is not None else None
        if response is not None and response.is_open and await settle_if_lost(response.id):
            response = await self._load(response.id)
        if response is None:
            raise ResponseNotFound(wanted)
        return response

    async def _load(self, id_: uuid.UUID) -> StoredResponse | None:
        assert self.principal is not None
        return await read(_find, id_, self.principal, self.left_out)

    def query(self, name: str, default: str) -> str:
        """A parameter of the query string."""
        found = parse_qs(self.scope["query_string"].decode("latin-1"))
        values: list[str] = found.get(name, [default])
        return values[-1]

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A parameter that is a whole number.

        Raises:
            InvalidValue: when it is none, or out of bounds.
        """
        text = self.query(name, str(default))
        if not _WHOLE_NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise InvalidValue(f"{name!r} must be a whole number from {least} to {most}.", param=name)
        return int(text)


class StoredResponseConsumer(StoredConsumer):
    """``GET`` and ``DELETE /v1/responses/{id}``."""

    methods: ClassVar = ("GET", "DELETE")
    follower: StreamFollower | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve the request. Whoever follows a stream stops when the client leaves."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.follower is not None:
                self.follower.stop()

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Answer; or begin to follow, and return to hear the client leave (platform fact 1)."""
        try:
            await super().http_request(message)
        except StopConsumer:
            if self.follower is None or self.connection.complete:
                raise

    async def respond(self) -> None:
        """Read or delete."""
        response = await self.find()
        if self.scope["method"] == "DELETE":
            await self._delete(response)
        elif self.query("stream", "false") == "true":
            await self._follow(response)
        else:
            await self.connection.reply(200, current_body(response))

    async def _follow(self, response: StoredResponse) -> None:
        after = self.number("starting_after", -1, least=-1, most=2**31)
        if not response.background and not await read(_has_frames, response.id):
            message = "Only responses that were made in the background, or can be resumed, are streamed again."
            raise InvalidValue(message, param="stream")
        if response.is_open and not response.background:
            note = NoteRecord(run_id=response.id, at=clock.now(), kind=NoteKind.RESUMED, text=f"behind event {after}")
            current_supervisor().submit(Note(note))
        self.follower = StreamFollower(self.connection, dialect_of(self.scope))
        self.follower.start(response.id, after=after)

    async def _delete(self, response: StoredResponse) -> None:
        assert self.principal is not None
        await read(_delete, response, by=self.principal.label)
        reply = {"id": ids.response_id(response.id), "object": "response", "deleted": True}
        await self.connection.reply(200, sse.dumps(reply))


class CancelConsumer(StoredConsumer):
    """``POST /v1/responses/{id}/cancel``. Done again, it changes nothing."""

    methods: ClassVar = ("POST",)

    async def respond(self) -> None:
        """Ask the run to stop, and tell how the response is then."""
        assert self.principal is not None
        response = await self.find()
        if not response.background:
            raise InvalidValue("Only responses that run in the background can be cancelled.", param="id")
        if response.is_open:
            await read(request_abort, response.id, AbortCause.CLIENT_CANCELLED, by=self.principal.label)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await ended(response.id)
            response = await self.find()
        await self.connection.reply(200, current_body(response))


class InputItemsConsumer(StoredConsumer):
    """``GET /v1/responses/{id}/input_items``: the conversation that a response answered."""

    methods: ClassVar = ("GET",)
    left_out: ClassVar = ("request", "body")

    async def respond(self) -> None:
        """Reply with one page of the items."""
        assert self.principal is not None
        limit = self.number("limit", 20, least=1, most=100)
        order = self.query("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidValue("'order' must be 'asc' or 'desc'.", param="order")
        response = await self.find()
        items = await read(earlier_items, response, self.principal)
        items += json.loads(response.input)
        if order == "desc":
            items.reverse()
        await self.connection.reply(200, sse.dumps(self._page(items, limit)))

    def _page(self, items: list[Item], limit: int) -> dict[str, Any]:
        after = self.query("after", "")
        if after:
            places = [place for place, item in enumerate(items) if item["id"] == after]
            if not places:
                raise InvalidValue(f"No item has the id {after!r}.", param="after")
            items = items[places[0] + 1 :]
        page = items[:limit]
        return {
            "object": "list",
            "data": [listed(item) for item in page],
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }


def current_body(response: StoredResponse) -> bytes:
    """The response object as it is now: while it is open, only its status has changed since it began."""
    if not response.is_open:
        return response.body.encode()
    return sse.dumps(json.loads(response.body) | {"status": response.status})


def _find(id_: uuid.UUID, principal: Principal, left_out: tuple[str, ...]) -> StoredResponse | None:
    return responses_of(principal).filter(pk=id_).defer(*left_out).first()


def _has_frames(id_: uuid.UUID) -> bool:
    return StoredResponse.objects.using(gateway_settings().DATABASE).filter(pk=id_, frames__isnull=False).exists()


def _delete(response: StoredResponse, *, by: str) -> None:
    alias = gateway_settings().DATABASE
    with transaction.atomic(using=alias):
        row = StoredResponse.objects.using(alias).filter(pk=response.pk)
        list(row.select_for_update())  # Nobody adds to its stream between the deletion of that and of itself.
        if response.is_open:
            # By the same commit: whoever follows it hears that it is gone, not of an end that cannot be read again.
            request_abort(response.pk, AbortCause.CLIENT_CANCELLED, by=by, reason="its response was deleted")
        keep_holds_out(connections[alias])
        if held_among([response.pk], connections[alias]):
            row.update(expires_at=clock.now())  # Gone for its client; `purgeresponses` deletes it after the hold.
        else:
            row.delete()
