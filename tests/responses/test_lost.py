"""Responses whose process died: what whoever asks for one is told while the database does not take its end."""

import uuid
from types import SimpleNamespace

import pytest

from gateway_project import ids
from gateway_project.runs.journal import JournalUnavailable
from gateway_project.transport.errors import DatabaseAway
from responses import lost
from responses.store import EndRecord


async def test_when_its_end_cannot_be_written_the_database_is_said_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(ask: object, response_id: uuid.UUID) -> EndRecord:
        return EndRecord(id=response_id, status="failed", body="{}", first_number=0, frames="")

    async def write(change: object) -> None:
        raise JournalUnavailable("the database does not answer")

    monkeypatch.setattr(lost, "read", read)
    monkeypatch.setattr(lost, "current_supervisor", lambda: SimpleNamespace(runs={}, write=write))
    with pytest.raises(DatabaseAway):
        await lost.settle_if_lost(ids.new_run_id())
