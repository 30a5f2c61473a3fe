"""Records for tests."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import connection

from gateway_project import clock, ids
from gateway_project.runs.journal import InsertRun
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import Endpoint, RunStatus


def make_record(**changes: Any) -> RunRecord:
    """A running run's record, received a second ago."""
    now = clock.now()
    fields: dict[str, Any] = {
        "id": ids.new_run_id(),
        "status": RunStatus.RUNNING,
        "endpoint": Endpoint.CHAT_COMPLETIONS,
        "agent": "scripted",
        "model": "echo",
        "worker": "w" * 32,
        "principal_id": "1",
        "received_at": now - timedelta(seconds=1),
        "started_at": now,
    }
    return RunRecord(**(fields | changes))


def begun(number: int = 3, **fields: Any) -> list[RunRecord]:
    """So many, whose rows are there."""
    records = [make_record(**fields) for _ in range(number)]
    InsertRun.apply_all([InsertRun(record) for record in records], connection)
    return records


def completed(record: RunRecord, **fields: Any) -> RunRecord:
    """The record with its end."""
    now = clock.now()
    ended: dict[str, Any] = {"status": RunStatus.COMPLETED, "settled_at": now, "finished_at": now, "delivered": True}
    return replace(record, **ended | fields)
