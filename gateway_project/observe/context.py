"""The run that the current task works for, for log lines."""

import uuid
from contextvars import ContextVar

_run_id: ContextVar[uuid.UUID | None] = ContextVar("gateway_run_id", default=None)


def bind_run(run_id: uuid.UUID) -> None:
    """From here on the current task, and those it starts, work for this run."""
    _run_id.set(run_id)


def bound_run() -> uuid.UUID | None:
    """The run that the current task works for, if any."""
    return _run_id.get()
