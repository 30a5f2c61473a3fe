"""``manage.py purgeruns``: what it takes, what it says."""

import io
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from gateway_project import clock
from gateway_project.runs.content.record import ContentRecord, KeepContent
from gateway_project.runs.journal import InsertRun, Journal
from gateway_project.runs.models import Run, RunContent
from gateway_project.runs.retention import walk
from gateway_project.runs.retention.holds import set_hold
from responses.models import StoredResponse
from tests.runs.records import make_record
from tests.runs.retention.test_removal import store_response
from tests.runs.seals.conftest import Writer, verify

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _settled(tmp_path: Path, settings: Any) -> Iterator[None]:
    """A spill folder of the test's own, and no pauses."""
    settings.GATEWAY = settings.GATEWAY | {"SPILL_DIR": str(tmp_path)}
    yield


def purgeruns(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("purgeruns", *arguments, stdout=out)
    return out.getvalue().splitlines()


def aged(*days: float) -> list[uuid.UUID]:
    """A run of each age, with its content and a stored response."""
    runs = []
    for each in days:
        at = clock.now() - timedelta(days=each)
        run = Writer().run(received_at=at)
        store_response(run, days_ago=each)
        Writer().commit(KeepContent(ContentRecord(run_id=run, at=at, mode="full", answer="said")))
        runs.append(run)
    return runs


def left() -> list[uuid.UUID]:
    return list(Run.objects.order_by("-received_at").values_list("pk", flat=True))


def test_runs_go_at_one_age_and_content_at_another() -> None:
    runs = aged(1, 31, 32, 91, 92, 93)
    set_hold(run=runs[4], by="nora", reason="x")
    dry = purgeruns("--older-than", "90d", "--content-older-than", "30d", "--dry-run")
    assert dry == [
        "Would purge 2 runs.",
        "Left 1 run under a legal hold.",
        "Contents of 5 runs are older.",
        "Stored responses of 5 runs are older.",
    ]
    assert left() == runs
    said = purgeruns("--older-than", "90d", "--content-older-than", "30d", "--batch", "1")
    assert said == [
        "Purged 2 runs.",
        "Left 1 run under a legal hold.",
        "Removed the contents of 2 runs.",
        "Left those of 1 run: held, or still open.",
        "Removed the stored responses of 2 runs.",
        "Left those of 1 run: held, or still open.",
    ]
    assert left() == [*runs[:3], runs[4]]
    assert set(StoredResponse.objects.values_list("pk", flat=True)) == {runs[0], runs[4]}
    assert set(RunContent.objects.values_list("run", flat=True)) == {runs[0], runs[4]}
    assert verify() == {}
    assert purgeruns("--older-than", "90d") == ["Purged 0 runs.", "Left 1 run under a legal hold."]


def test_an_age_may_be_a_date() -> None:
    runs = aged(1, 40)
    day = (clock.now() - timedelta(days=10)).date()
    assert purgeruns("--older-than", day.isoformat()) == ["Purged 1 run."]
    assert left() == runs[:1]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--older-than", "ninety days"),
        ("--older-than", "90"),
        ("--older-than", "-1d"),
        ("--older-than", "9999999w"),
        ("--older-than", "2999-01-01"),
        ("--older-than", "1d", "--batch", "0"),
        ("--older-than", "1d", "--batch", "many"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    aged(400)
    with pytest.raises(CommandError):
        purgeruns(*arguments)
    assert left()


def test_it_tries_again_when_others_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    aged(91, 92)
    apply, failures = Journal._apply, iter([OperationalError("database is locked")] * 2)

    def sometimes(journal: Journal, changes: Any) -> Any:
        for error in failures:
            raise error
        return apply(journal, changes)

    monkeypatch.setattr(Journal, "_apply", sometimes)
    monkeypatch.setattr(walk, "_TRY_EVERY_SECONDS", 0.01)
    assert purgeruns("--older-than", "90d") == ["Purged 2 runs."]


def test_a_database_that_does_not_answer_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise OperationalError("connection refused\n\tIs the server running?")

    monkeypatch.setattr(Journal, "_apply", away)
    monkeypatch.setattr(walk, "_TRY_FOR_SECONDS", 0)
    with pytest.raises(CommandError, match=r"Stopped: .*connection refused"):
        purgeruns("--older-than", "90d")


def test_open_runs_stay_whatever_their_age() -> None:
    running = make_record(received_at=clock.now() - timedelta(days=400))
    Writer().commit(InsertRun(running))
    aged(91)
    assert purgeruns("--older-than", "0m") == ["Purged 1 run."]
    assert left() == [running.id]
