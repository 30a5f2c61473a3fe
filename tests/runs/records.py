"""Records for tests."""

from datetime import timedelta
from typing import Any

from gateway_project import clock, ids
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
