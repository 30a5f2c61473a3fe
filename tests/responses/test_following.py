"""Following a stream that is kept: what its follower is told when it cannot be read on."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.transport import sse
from gateway_project.transport.connection import Connection
from gateway_project.transport.errors import DatabaseAway
from responses import following
from responses.dialect import Dialect
from responses.following import StreamFollower
from tests.responses.reader import events_of
from tests.responses.scenarios import SCENARIOS, stream

EVENTS = stream(*SCENARIOS["text"])


@pytest.mark.compliance("Open Responses", "error", "data: [DONE]")
@pytest.mark.compliance("OpenAI Responses", "ResponseErrorEvent", "starting_after")
@pytest.mark.parametrize("after", [-1, 3])
async def test_when_the_database_goes_away_an_error_event_says_so_and_after_which_event(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow(response_id: uuid.UUID, after: int, dialect: Dialect) -> AsyncGenerator[bytes, None]:
        for event in EVENTS[after + 1 : 6]:
            yield sse.named_event(event["type"], event) + sse.HEARTBEAT
        raise DatabaseAway

    monkeypatch.setattr(following, "follow", follow)
    sent: list[Mapping[str, Any]] = []
    ended = asyncio.Event()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)
        if not message.get("more_body", True):
            ended.set()

    follower = StreamFollower(Connection(send))
    follower.start(ids.new_run_id(), after=after)
    async with asyncio.timeout(30):
        await ended.wait()
    body = b"".join(message.get("body", b"") for message in sent).replace(sse.HEARTBEAT, b"")
    *before, error = events_of(body)
    assert before == EVENTS[after + 1 : 6]
    assert (error["type"], error["error"]["code"]) == ("error", "database_unavailable")
    assert error["sequence_number"] == before[-1]["sequence_number"] == 5
