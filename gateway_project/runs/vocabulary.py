"""One vocabulary for models, admin, API, logs and docs, and the table of allowed transitions.

"Cancel" is what somebody asks, "abort" is what happens.
"""

from collections.abc import Mapping

from django.db.models import TextChoices


class Endpoint(TextChoices):
    """Which endpoint a run came in by."""

    CHAT_COMPLETIONS = "chat_completions", "Chat Completions"
    RESPONSES = "responses", "Responses"
    COMPACT = "responses_compact", "Responses, compact"


class RunStatus(TextChoices):
    """Where a run is in its life."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    ABORTED = "aborted", "Aborted"
    REJECTED = "rejected", "Rejected"


class AbortCause(TextChoices):
    """Why a run was told to stop."""

    CLIENT_DISCONNECT = "client_disconnect", "Client disconnected"
    CLIENT_CANCELLED = "client_cancelled", "Cancelled by the client"
    OPERATOR_CANCELLED = "operator_cancelled", "Cancelled by an operator"
    TIMEOUT = "timeout", "Timeout"
    SHUTDOWN = "shutdown", "Server shutdown"
    WORKER_LOST = "worker_lost", "Worker lost"
    SLOW_READER = "slow_reader", "Slow reader"


class AbortPhase(TextChoices):
    """How far the run was when it was told to stop."""

    READING = "reading", "Reading the request"
    AUTHENTICATING = "authenticating", "Authenticating"
    QUEUED = "queued", "Waiting in the queue"
    PREPARING = "preparing", "Preparing"
    BEFORE_OUTPUT = "before_output", "Before the first output"
    STREAMING = "streaming", "Output under way"
    FINISHING = "finishing", "Finishing"


class AbortOutcome(TextChoices):
    """Whether the agent really stopped."""

    STOPPED = "stopped", "Stopped"
    FINISHED_FIRST = "finished_first", "Finished first"
    UNRESPONSIVE = "unresponsive", "Unresponsive"
    ERRORED = "errored", "Error while stopping"
    UNKNOWN = "unknown", "Unknown"


class UsageSource(TextChoices):
    """Who counted the tokens."""

    REPORTED = "reported", "Reported by the agent"
    ESTIMATED = "estimated", "Estimated from the text"


class NoteKind(TextChoices):
    """What a run's note tells that its columns cannot."""

    ABORT_REQUESTED = "abort_requested", "Abort requested"
    SECOND_CAUSE = "second_cause", "Second cause"
    CLIENT_GONE = "client_gone", "Client gone, agent goes on"
    RESUMED = "resumed", "Client came back"
    LATE_END = "late_end", "Agent ended late"
    SECOND_END = "second_end", "Already closed by somebody else"
    TOOL = "tool", "Tool of the agent"
    CALL_DROPPED = "call_dropped", "Call not permitted, dropped"
    INPUT = "input", "Input by URL"


CLIENT_IS_GONE = (AbortCause.CLIENT_DISCONNECT, AbortCause.SLOW_READER)
"""Causes after which nothing can be told to the client. An index's condition is made of them, in this order."""

OPEN_STATUSES = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})
FINAL_STATUSES = frozenset(RunStatus) - OPEN_STATUSES

TRANSITIONS: Mapping[RunStatus | None, frozenset[RunStatus]] = {
    None: frozenset(
        # The last two: a run that ended before its row was made.
        {RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.REJECTED, RunStatus.ABORTED, RunStatus.FAILED}
    ),
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.ABORTED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.ABORTED}),
    **{status: frozenset[RunStatus]() for status in FINAL_STATUSES},
}
"""From which status to which; None stands for "no row yet"."""


def sources_of(target: RunStatus) -> tuple[RunStatus, ...]:
    """The statuses that may become `target`, in the order of `RunStatus`."""
    return tuple(status for status in RunStatus if target in TRANSITIONS[status])
