"""The transition table."""

import pytest

from gateway_project.runs.vocabulary import FINAL_STATUSES, OPEN_STATUSES, TRANSITIONS, RunStatus, sources_of


def test_every_status_stands_in_the_table() -> None:
    assert set(TRANSITIONS) == {None, *RunStatus}


@pytest.mark.parametrize("status", sorted(FINAL_STATUSES))
def test_nothing_follows_an_end(status: RunStatus) -> None:
    assert TRANSITIONS[status] == frozenset()


def test_a_rejected_row_was_never_open() -> None:
    assert sources_of(RunStatus.REJECTED) == ()
    assert RunStatus.REJECTED in TRANSITIONS[None]


def test_only_a_running_run_completes() -> None:
    assert sources_of(RunStatus.COMPLETED) == (RunStatus.RUNNING,)
    assert sources_of(RunStatus.ABORTED) == (RunStatus.QUEUED, RunStatus.RUNNING)
    assert {RunStatus.QUEUED, RunStatus.RUNNING} == OPEN_STATUSES
