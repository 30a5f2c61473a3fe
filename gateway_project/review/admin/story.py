"""One run in one plain sentence."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from gateway_project import clock
from gateway_project.review.admin.display import duration
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus

_WHO: Mapping[str, str] = {
    AbortCause.CLIENT_DISCONNECT: "The client disconnected",
    AbortCause.CLIENT_CANCELLED: "The client cancelled the run",
    AbortCause.OPERATOR_CANCELLED: "Cancelled by an operator",
    AbortCause.TIMEOUT: "The run's time was up",
    AbortCause.SHUTDOWN: "The server shut down",
    AbortCause.WORKER_LOST: "The worker was lost",
    AbortCause.SLOW_READER: "The client read too slowly",
}
_WHEN: Mapping[str, str] = {
    AbortPhase.READING: "while the request was being read",
    AbortPhase.AUTHENTICATING: "while the client was being authenticated",
    AbortPhase.QUEUED: "while the run waited in the queue",
    AbortPhase.PREPARING: "while the run was being prepared",
    AbortPhase.BEFORE_OUTPUT: "before any output",
    AbortPhase.STREAMING: "while output was under way",
    AbortPhase.FINISHING: "as the answer was finishing",
}


def story(run: Run, notes: Iterable[RunNote] = (), *, now: datetime | None = None) -> str:
    """What happened, in words. Never says "stopped" of an agent that was not seen to stop."""
    if run.is_open:
        return _so_far(run, now or clock.now())
    match run.status:
        case RunStatus.REJECTED:
            return f"Refused{_http_status(run)}: {_error(run)} No agent was started."
        case RunStatus.COMPLETED | RunStatus.FAILED if run.abort_requested_at is None:
            return _own_end(run, notes)
        case _:
            return f"{_abort(run)}; {_outcome(run, notes)}."


def _so_far(run: Run, now: datetime) -> str:
    since = duration(now - (run.started_at or run.received_at))
    if run.status == RunStatus.QUEUED:
        state = f"Waiting in the queue for {since}"
    else:
        state = f"Running for {since}" if run.started_at else f"Preparing for {since}; its agent is not called yet"
    if run.abort_requested_at is None:
        return f"{state}."
    ago = duration(now - run.abort_requested_at)
    by = f" by {run.abort_requested_by}" if run.abort_requested_by else ""
    return f"{state}. Its abort was asked{by} {ago} ago; it has not ended yet."


def _own_end(run: Run, notes: Iterable[RunNote]) -> str:
    took = duration(run.duration)
    if run.status == RunStatus.FAILED:
        who = "The agent failed" if run.started_at else "Failed before the agent was started,"
        return f"{who} after {took}: {_error(run)}"
    kinds = {note.kind for note in notes}
    if NoteKind.RESUMED in kinds:
        return f"Completed in {took}. The client had left, and came back for the rest."
    if NoteKind.CLIENT_GONE in kinds:
        left = "the answer is kept for it" if run.delivered else "this agent is configured to finish all the same"
        return f"Completed in {took}. The client had left; {left}."
    if run.background and run.delivered:
        return f"Completed in {took} in the background; the answer is kept for the client."
    delivered = {True: ", and the whole answer was delivered", False: ", but the answer was not delivered in full"}
    return f"Completed in {took}{delivered.get(run.delivered, '') if run.delivered is not None else ''}."


def _abort(run: Run) -> str:
    who = _WHO.get(run.abort_cause, "The run was aborted")
    if run.abort_requested_by:
        who = f"Cancelled by {run.abort_requested_by}"
    return " ".join(filter(None, (who, _WHEN.get(run.abort_phase))))


def _outcome(run: Run, notes: Iterable[RunNote]) -> str:
    later = f" {duration(run.abort_latency)} later" if run.abort_latency is not None else ""
    match run.abort_outcome:
        case AbortOutcome.STOPPED:
            return f"the agent stopped{later}" if run.started_at else "no agent had been started"
        case AbortOutcome.FINISHED_FIRST if run.status == RunStatus.FAILED:
            return f"the agent had failed first: {_error(run)}".rstrip(".")
        case AbortOutcome.FINISHED_FIRST:
            return "the agent had finished first, and the answer " + (
                "was delivered" if run.delivered else "was not delivered"
            )
        case AbortOutcome.UNRESPONSIVE:
            return _unresponsive(run, notes)
        case AbortOutcome.UNKNOWN if run.started_at is None:
            return "no start of an agent is on record"
        case AbortOutcome.ERRORED:
            return f"the agent raised an error instead of stopping{f',{later}' if later else ''}"
        case _:
            return "whether the agent stopped is not known"


def _unresponsive(run: Run, notes: Iterable[RunNote]) -> str:
    asked, given_up = run.abort_requested_at, run.finished_at
    within = f" within {duration(given_up - asked)}" if asked and given_up else ""
    text = f"the agent did not stop{within} and was given up"
    late = next((note.at for note in notes if note.kind == NoteKind.LATE_END), None)
    if late is None or asked is None:
        return f"{text}; nobody has seen it end"
    return f"{text}; it really ended {duration(late - asked)} after it was told to stop"


def _error(run: Run) -> str:
    text = run.error_message or run.error_code or "no reason was recorded"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _http_status(run: Run) -> str:
    return f" with HTTP {run.http_status}" if run.http_status else ""
