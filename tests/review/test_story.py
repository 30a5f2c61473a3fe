"""The sentence and the line in time, for every way a run can go."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from gateway_project.review.admin.story import story
from gateway_project.review.admin.timeline import WIDTH, timeline
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus
from tests.review.conftest import KINDS, ms

AT = datetime(2026, 11, 20, 14, 3, 22, 123456, tzinfo=UTC)
LATE_END = RunNote(at=AT + ms(8500), kind=NoteKind.LATE_END, text="the agent ended after its grace period")
IN_QUEUE = {"abort_phase": AbortPhase.QUEUED, "started_at": None, "first_output_at": None}
OPERATOR = {
    "abort_cause": AbortCause.OPERATOR_CANCELLED,
    "abort_requested_by": "nina",
    "abort_requested_at": AT + ms(2500),
}


def run_of(kind: str, **fields: Any) -> Run:
    return Run(**KINDS[kind](AT) | fields)


@pytest.mark.parametrize(
    ("run", "notes", "sentence"),
    [
        (run_of("completed"), [], "Completed in 1.20 s, and the whole answer was delivered."),
        (run_of("completed", delivered=None), [], "Completed in 1.20 s."),
        (run_of("completed", delivered=False), [], "Completed in 1.20 s, but the answer was not delivered in full."),
        (
            run_of("completed", delivered=False),
            [RunNote(at=AT, kind=NoteKind.CLIENT_GONE)],
            "Completed in 1.20 s. The client had left; this agent is configured to finish all the same.",
        ),
        (
            run_of("completed", delivered=True),
            [RunNote(at=AT, kind=NoteKind.CLIENT_GONE)],
            "Completed in 1.20 s. The client had left; the answer is kept for it.",
        ),
        (
            run_of("completed", delivered=True),
            [RunNote(at=AT, kind=NoteKind.CLIENT_GONE), RunNote(at=AT, kind=NoteKind.RESUMED)],
            "Completed in 1.20 s. The client had left, and came back for the rest.",
        ),
        (
            run_of("completed", delivered=True, background=True),
            [],
            "Completed in 1.20 s in the background; the answer is kept for the client.",
        ),
        (run_of("failed"), [], "The agent failed after 1.20 s: The upstream is down."),
        (
            run_of("failed", started_at=None, error_message="", error_code="queue_timeout"),
            [],
            "Failed before the agent was started, after 1.20 s: queue_timeout.",
        ),
        (run_of("rejected"), [], "Refused with HTTP 404: There is no model 'nobody'. No agent was started."),
        (
            run_of("aborted"),
            [],
            "The client disconnected while output was under way; the agent stopped 0.4 ms later.",
        ),
        (
            run_of("aborted", **IN_QUEUE),
            [],
            "The client disconnected while the run waited in the queue; no agent had been started.",
        ),
        (
            run_of("aborted", abort_cause=AbortCause.OPERATOR_CANCELLED, abort_requested_by="nina"),
            [],
            "Cancelled by nina while output was under way; the agent stopped 0.4 ms later.",
        ),
        (
            run_of("aborted", abort_cause=AbortCause.TIMEOUT, abort_phase=AbortPhase.BEFORE_OUTPUT),
            [],
            "The run's time was up before any output; the agent stopped 0.4 ms later.",
        ),
        (
            run_of("aborted", status=RunStatus.COMPLETED, abort_outcome=AbortOutcome.FINISHED_FIRST),
            [],
            "The client disconnected while output was under way; "
            "the agent had finished first, and the answer was not delivered.",
        ),
        (
            run_of(
                "aborted", status=RunStatus.FAILED, abort_outcome=AbortOutcome.FINISHED_FIRST, error_message="It broke."
            ),
            [],
            "The client disconnected while output was under way; the agent had failed first: It broke.",
        ),
        (
            run_of("unresponsive"),
            [],
            "The client disconnected while output was under way; "
            "the agent did not stop within 500 ms and was given up; nobody has seen it end.",
        ),
        (
            run_of("unresponsive"),
            [LATE_END],
            "The client disconnected while output was under way; the agent did not stop within 500 ms "
            "and was given up; it really ended 8.00 s after it was told to stop.",
        ),
        (
            run_of("aborted", abort_outcome=AbortOutcome.ERRORED),
            [],
            "The client disconnected while output was under way; "
            "the agent raised an error instead of stopping, 0.4 ms later.",
        ),
        (
            run_of(
                "aborted",
                abort_cause=AbortCause.WORKER_LOST,
                abort_phase="",
                abort_outcome=AbortOutcome.UNKNOWN,
                settled_at=None,
            ),
            [],
            "The worker was lost; whether the agent stopped is not known.",
        ),
        (
            run_of(
                "aborted",
                abort_cause=AbortCause.WORKER_LOST,
                abort_outcome=AbortOutcome.UNKNOWN,
                settled_at=None,
                **IN_QUEUE,
            ),
            [],
            "The worker was lost while the run waited in the queue; no start of an agent is on record.",
        ),
        (run_of("running"), [], "Running for 3.00 s."),
        (run_of("running", status=RunStatus.QUEUED, started_at=None), [], "Waiting in the queue for 3.00 s."),
        (
            run_of("running", **OPERATOR),
            [],
            "Running for 3.00 s. Its abort was asked by nina 502 ms ago; it has not ended yet.",
        ),
    ],
)
def test_what_happened_in_one_sentence(run: Run, notes: list[RunNote], sentence: str) -> None:
    assert story(run, notes, now=(run.started_at or AT) + ms(3000)) == sentence


@pytest.mark.parametrize("cause", AbortCause)
@pytest.mark.parametrize("phase", AbortPhase)
def test_no_cause_and_no_phase_goes_without_words(cause: AbortCause, phase: AbortPhase) -> None:
    told = story(run_of("aborted", abort_cause=cause, abort_phase=phase))
    assert told.endswith("; the agent stopped 0.4 ms later.")
    assert not told.startswith("The run was aborted")
    assert "  " not in told


@pytest.mark.parametrize("outcome", [*(outcome for outcome in AbortOutcome if outcome is not AbortOutcome.STOPPED), ""])
def test_stopped_is_said_of_an_agent_that_stopped_and_of_no_other(outcome: str) -> None:
    assert "agent stopped 0" not in story(run_of("aborted", abort_outcome=outcome))
    titles = [moment.title for moment in timeline(run_of("aborted", abort_outcome=outcome)).moments]
    assert "Agent stopped" not in titles


def test_the_timeline_holds_each_milestone_at_its_offset() -> None:
    drawn = timeline(run_of("aborted", abort_requested_by="nina", abort_reason="enough"))
    assert [(moment.offset, moment.title) for moment in drawn.moments] == [
        ("+0.0 ms", "Received"),
        ("+2.0 ms", "Agent started"),
        ("+100.0 ms", "First output"),
        ("+500.0 ms", "Abort asked: Client disconnected"),
        ("+500.4 ms", "Agent stopped"),
        ("+501.0 ms", "Recorded as aborted"),
    ]
    assert drawn.moments[3].detail == "Output under way · by nina · “enough”"
    assert drawn.moments[0].exact == "2026-11-20 14:03:22.123456"
    assert drawn.total == "501 ms"
    assert [(stage.label, stage.length) for stage in drawn.stages] == [
        ("Waiting", "2.0 ms"),
        ("Working", "98 ms"),
        ("Output", "400 ms"),
        ("Stopping", "0.4 ms"),
        ("Closing", "0.6 ms"),
    ]


def test_an_agent_left_running_is_drawn_to_its_real_end() -> None:
    drawn = timeline(run_of("unresponsive"), [LATE_END])
    assert [(stage.kind, stage.length) for stage in drawn.stages][-2:] == [("stuck", "500 ms"), ("left", "7.50 s")]
    assert drawn.moments[-1].title == "Agent ended late"
    assert drawn.total == "8.50 s"


def test_an_open_run_is_drawn_until_now() -> None:
    drawn = timeline(run_of("running", **OPERATOR), now=AT + ms(3000))
    assert [(stage.label, stage.length) for stage in drawn.stages] == [
        ("Waiting", "2.0 ms"),
        ("Working", "2.50 s"),
        ("Stopping", "500 ms"),
    ]


def test_stages_fill_the_bar_without_gaps_and_even_the_shortest_can_be_seen() -> None:
    for kind in KINDS:
        stages = timeline(run_of(kind), now=AT + ms(60_000)).stages
        assert stages[0].x == 0
        for stage, following in pairwise(stages):
            assert stage.x + stage.width == following.x
        assert stages[-1].x + stages[-1].width == WIDTH
        assert all(stage.width >= 5 for stage in stages)


def test_a_run_that_was_stopped_while_it_was_prepared_had_left_the_queue_before() -> None:
    run = run_of("aborted", **IN_QUEUE | {"abort_phase": AbortPhase.PREPARING})
    titles = [moment.title for moment in timeline(run).moments]
    assert "Left the queue" not in titles
    assert "Preparing ended" in titles
    assert "Left the queue" in [moment.title for moment in timeline(run_of("aborted", **IN_QUEUE)).moments]


def test_a_run_that_failed_while_it_was_prepared_did_not_leave_the_queue_then() -> None:
    failed = run_of("failed", started_at=None, first_output_at=None)
    assert "Preparing ended" in [moment.title for moment in timeline(failed).moments]


def test_while_a_run_is_prepared_its_agent_is_not_called() -> None:
    run = run_of("running", started_at=None, first_output_at=None, settled_at=None, finished_at=None)
    assert story(run, now=AT + ms(2000)) == "Preparing for 2.00 s; its agent is not called yet."


def test_output_after_the_abort_belongs_to_stopping() -> None:
    run = run_of("aborted", first_output_at=AT + ms(500.2), abort_phase=AbortPhase.BEFORE_OUTPUT)
    assert [stage.label for stage in timeline(run).stages] == ["Waiting", "Working", "Stopping", "Closing"]


def test_an_abort_that_was_asked_after_the_agents_end_had_nothing_to_stop() -> None:
    run = run_of("completed", abort_requested_at=AT + ms(1200.5), abort_outcome=AbortOutcome.FINISHED_FIRST)
    assert [stage.label for stage in timeline(run).stages] == ["Waiting", "Working", "Output"]
    assert not any("after the abort" in moment.detail for moment in timeline(run).moments)


def test_a_run_of_no_length_has_no_bar() -> None:
    assert timeline(run_of("rejected", finished_at=AT)).stages == []
