"""One run as a line in time: its moments in order, and the stages between them. Drawn, not stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway_project import clock
from gateway_project.review.admin.columns import agent_and_model, endpoint, stopping_time
from gateway_project.review.admin.display import OUTCOME_TONES, STATUS_TONES, Tone, duration, exact_ms, utc_exact
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus

WIDTH = 1000
_LEAST_WIDTH = 6
_LEAST_LENGTH = timedelta(microseconds=50)  # what is shorter would read "0.0 ms"

_NOTE_TONES: dict[str, Tone] = {
    NoteKind.LATE_END: "bad",
    NoteKind.SECOND_END: "warn",
    NoteKind.SECOND_CAUSE: "warn",
    NoteKind.CLIENT_GONE: "warn",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: when, what, and in small what goes with it."""

    at: datetime
    offset: str
    title: str
    detail: str
    tone: Tone

    @property
    def exact(self) -> str:
        """The time to the microsecond, UTC."""
        return utc_exact(self.at)

    @property
    def iso(self) -> str:
        """The same for machines."""
        return self.at.isoformat()


@dataclass(frozen=True, slots=True)
class Stage:
    """What was going on between two moments, and where it is in a bar that is `WIDTH` wide."""

    kind: str
    label: str
    length: str
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it."""

    moments: Sequence[Moment]
    stages: Sequence[Stage]
    total: str


def timeline(run: Run, notes: Iterable[RunNote] = (), *, now: datetime | None = None) -> Timeline:
    """Draw `run`. An open one ends now."""
    notes = list(notes)
    end = now or clock.now() if run.is_open else None
    moments = sorted(_moments(run, notes), key=lambda moment: moment.at)
    borders = _borders(run, notes)
    last = end or max(at for _, _, at in borders)
    return Timeline(moments, _stages(borders, last), duration(last - run.received_at))


def _moments(run: Run, notes: Iterable[RunNote]) -> Iterable[Moment]:
    def moment(at: datetime, title: str, *details: str, tone: Tone = "quiet") -> Moment:
        sign = "+" if at >= run.received_at else ""
        return Moment(at, f"{sign}{exact_ms(at - run.received_at)}", title, " · ".join(filter(None, details)), tone)

    yield moment(run.received_at, "Received", endpoint(run), f"from {run.client_address}" if run.client_address else "")
    if run.started_at:
        yield moment(run.started_at, "Agent started", agent_and_model(run), tone="info")
    if run.first_output_at:
        yield moment(run.first_output_at, "First output", tone="info")
    if run.abort_requested_at:
        who = f"by {run.abort_requested_by}" if run.abort_requested_by else ""
        why = f"“{run.abort_reason}”" if run.abort_reason else ""
        is_found = run.abort_cause == AbortCause.WORKER_LOST  # by others: nobody asked
        title = "Its worker was found lost" if is_found else f"Abort asked: {run.get_abort_cause_display()}"
        yield moment(run.abort_requested_at, title, run.get_abort_phase_display(), who, why, tone="warn")
    if run.settled_at:
        later = (
            f"{duration(stopping)} after the abort was asked" if (stopping := stopping_time(run)) is not None else ""
        )
        yield moment(run.settled_at, _settled_title(run), later, tone=OUTCOME_TONES.get(run.abort_outcome, "good"))
    if run.finished_at:
        tone = STATUS_TONES.get(run.status, "quiet")
        yield moment(run.finished_at, f"Recorded as {run.get_status_display().lower()}", *_finish(run), tone=tone)
    for note in notes:
        who = f"by {note.by}" if note.by else ""
        tone = _NOTE_TONES.get(note.kind, "quiet")
        yield moment(note.at, note.get_kind_display(), note.text, who, tone=tone)


def _settled_title(run: Run) -> str:
    if run.started_at is None:
        in_queue = run.abort_phase == AbortPhase.QUEUED or run.error_code == "queue_timeout"
        return "Left the queue" if in_queue else "Preparing ended"
    match run.abort_outcome:
        case AbortOutcome.STOPPED:
            return "Agent stopped"
        case AbortOutcome.ERRORED:
            return "Agent raised an error while stopping"
        case _:
            return "Agent failed" if run.status == RunStatus.FAILED else "Agent finished"


def _finish(run: Run) -> Iterable[str]:
    if run.abort_outcome == AbortOutcome.UNRESPONSIVE:
        yield "the agent was still alive after its grace period"
    yield run.error_code or run.finish_reason
    if run.delivered is not None:
        yield "answer delivered" if run.delivered else "answer not delivered"


_Border = tuple[str, str, datetime]


def _borders(run: Run, notes: Iterable[RunNote]) -> list[_Border]:
    """The stage that each milestone opens, in the order of a run's life."""
    alive = run.abort_outcome == AbortOutcome.UNRESPONSIVE
    late = max((note.at for note in notes if note.kind == NoteKind.LATE_END), default=None)
    borders = (
        ("wait", "Waiting", run.received_at),
        ("work", "Working", run.started_at),
        ("output", "Output", run.first_output_at),
        (*(("stuck", "Not stopping") if alive else ("stop", "Stopping")), run.abort_requested_at),
        ("close", "Closing", run.settled_at),
        (*(("left", "Left running") if alive else ("end", "")), run.finished_at),
        ("end", "", late),
    )
    return [(kind, label, at) for kind, label, at in borders if at is not None]


def _stages(borders: Sequence[_Border], last: datetime) -> list[Stage]:
    """The time from each border to the next later one. A stage never returns to an earlier one."""
    spans: list[tuple[str, str, timedelta]] = []
    for index, (kind, label, at) in enumerate(borders):
        until = min((other for _, _, other in borders[index + 1 :]), default=last)
        if kind != "end" and until - at >= _LEAST_LENGTH:
            spans.append((kind, label, until - at))
    whole = sum((length for _, _, length in spans), timedelta())
    if not whole:
        return []
    widths = [max(_LEAST_WIDTH, WIDTH * (length / whole)) for _, _, length in spans]
    scale = WIDTH / sum(widths)
    stages: list[Stage] = []
    x = 0.0
    for (kind, label, length), width in zip(spans, widths, strict=True):
        right = x + width * scale
        stages.append(Stage(kind, label, duration(length), round(x), round(right) - round(x)))
        x = right
    return stages
