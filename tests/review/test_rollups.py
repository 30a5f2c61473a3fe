"""Runs counted by the hour: rightly, once, again and again."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from gateway_project import clock
from gateway_project.review import rollups
from gateway_project.review.figures import Figures
from gateway_project.review.models import AbortLatencyHour, RolledHour, RunDay, RunHour
from gateway_project.review.rollups import BEYOND_MS, HOUR, due_hours, hour_of, keep_up, roll_up
from gateway_project.runs.models import Run
from gateway_project.runs.seals.triggers import maintenance
from gateway_project.runs.vocabulary import AbortOutcome, RunStatus
from tests.review.conftest import KINDS, MakeRun, ms

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make(kind: str, received_at: datetime, **fields: object) -> Run:
    return Run.objects.create(**KINDS[kind](received_at) | fields)


def counted() -> list[tuple[datetime, str, str, int]]:
    return sorted(RunHour.objects.values_list("hour", "status", "abort_outcome", "runs"))


@pytest.fixture
def at_six(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """It is six in the evening."""
    now = NOON + timedelta(hours=6)
    monkeypatch.setattr(clock, "now", lambda: now)
    return now


def test_each_hour_has_its_runs_by_how_they_ended(db: None, at_six: datetime) -> None:
    for minutes in (0, 59):
        make("completed", NOON + timedelta(minutes=minutes, seconds=59))
    make("aborted", NOON + timedelta(minutes=30))
    make("completed", NOON + HOUR)
    assert roll_up(NOON, NOON + HOUR) == 4
    assert counted() == [
        (NOON, "aborted", "stopped", 1),
        (NOON, "completed", "", 2),
        (NOON + HOUR, "completed", "", 1),
    ]


def test_what_runs_cost_is_summed(db: None, at_six: datetime) -> None:
    make("completed", NOON, output_tokens=10)
    make("completed", NOON, output_tokens=None, delivered=False)
    make("running", NOON, status=RunStatus.COMPLETED, started_at=None, settled_at=NOON, endpoint="chat_completions")
    roll_up(NOON, NOON)
    rows = {row.agent: row for row in RunHour.objects.all()}
    assert len(rows) == 1
    row = rows["scripted"]
    assert (row.runs, row.undelivered, row.worked_runs, row.counted_runs, row.output_tokens) == (3, 1, 2, 1, 10)
    assert row.worked_ms == 2 * 1198


@pytest.mark.parametrize(
    ("fields", "unsent"),
    [
        ({"streaming": True, "output_tokens": 30, "tokens_sent": 12}, 18),
        ({"streaming": True, "output_tokens": 12, "tokens_sent": 30}, 0),
        ({"streaming": False, "output_tokens": 30, "tokens_sent": 0}, 0),
        ({"streaming": True, "output_tokens": 30, "tokens_sent": 12, "abort_cause": "timeout"}, 0),
    ],
)
def test_tokens_after_the_client_had_gone_are_those_of_streams_beyond_what_was_sent(
    db: None, at_six: datetime, fields: dict[str, object], unsent: int
) -> None:
    make("aborted", NOON, **fields)
    roll_up(NOON, NOON)
    assert RunHour.objects.get().unsent_tokens == unsent


def test_latencies_go_into_the_first_bucket_that_holds_them_and_the_unresponsive_into_the_last(
    db: None, at_six: datetime
) -> None:
    told = NOON + ms(500)
    for latency in (0.4, 1, 1.001, 60_000, 60_001):
        make("aborted", NOON, settled_at=told + ms(latency))
    make("unresponsive", NOON)
    make("aborted", NOON, settled_at=told - ms(1))  # it had ended: there was nothing to stop
    make("aborted", NOON, started_at=None)  # nothing ran
    make("completed", NOON)
    roll_up(NOON, NOON)
    found = dict(AbortLatencyHour.objects.values_list("up_to_ms", "runs"))
    assert found == {1: 2, 2: 1, 60_000: 1, BEYOND_MS: 2}


def test_counting_again_changes_nothing_and_follows_the_runs(db: None, at_six: datetime) -> None:
    run = make("running", NOON)
    make("completed", NOON)
    roll_up(NOON, NOON)
    first = counted()
    roll_up(NOON, NOON)
    assert counted() == first
    Run.objects.filter(pk=run.pk).update(status=RunStatus.FAILED)
    roll_up(NOON - HOUR, NOON + HOUR)
    assert Counter(status for _, status, _, _ in counted()) == Counter({"failed": 1, "completed": 1})


def test_an_hour_is_settled_when_no_run_of_it_is_open_and_none_can_come(db: None, at_six: datetime) -> None:
    make("running", NOON)
    keep_up(NOON, at_six)
    settled = dict(RolledHour.objects.exclude(rolled_at=None).values_list("hour", "settled"))
    assert len(settled) == 7
    assert {hour.hour for hour, is_settled in settled.items() if not is_settled} == {12, 17, 18}


def test_what_is_not_settled_is_due_again_after_a_while_and_what_is_settled_never(
    db: None, at_six: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("running", NOON)
    keep_up(NOON, at_six)
    assert due_hours(NOON, at_six) == []
    for passed, expected in ((timedelta(seconds=61), [18]), (timedelta(minutes=11), [18, 17, 12])):
        later = at_six + passed
        monkeypatch.setattr(clock, "now", lambda later=later: later)
        assert [hour.hour for hour in due_hours(NOON, later)] == expected


def test_a_page_counts_the_newest_first_and_leaves_the_rest(
    db: None, at_six: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "_RUNS_A_STEP", 1)
    for hours in range(6):
        for _ in range(2):
            make("completed", NOON + hours * HOUR)
    left = keep_up(NOON, at_six, within=1e-9)
    assert left == 6  # of seven hours one: the least that a step takes
    assert RolledHour.objects.get(rolled_at__isnull=False).hour == hour_of(at_six)
    assert keep_up(NOON, at_six) == 0
    assert sum(row.runs for row in RunHour.objects.all()) == 12


def test_a_quiet_time_is_counted_in_one_step(db: None, at_six: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    make("completed", NOON - timedelta(days=20))
    steps: list[tuple[datetime, datetime]] = []
    monkeypatch.setattr(rollups, "roll_up", lambda first, last: steps.append((first, last)))
    keep_up(NOON - timedelta(days=20), at_six)
    assert steps == [(NOON - timedelta(days=20), hour_of(at_six))]


def test_the_command_counts_what_is_due_and_rebuilds_on_demand(db: None, at_six: datetime) -> None:
    make("completed", NOON)
    out = StringIO()
    call_command("rolluphours", stdout=out)
    assert "since 2026-03-01 12:00 UTC are counted" in out.getvalue()
    make("completed", NOON)  # too late: the hour is settled
    call_command("rolluphours", stdout=out)
    assert counted() == [(NOON, "completed", "", 1)]
    call_command("rolluphours", "--rebuild", "--since", "2026-03-01", stdout=out)
    assert counted() == [(NOON, "completed", "", 2)]
    assert "counted anew: 2 runs" in out.getvalue()


def test_figures_of_runs_that_are_purged_outlive_a_rebuild(db: None, at_six: datetime) -> None:
    old = make("completed", NOON - timedelta(days=30))
    call_command("rolluphours", stdout=StringIO())
    with maintenance(connection):
        old.delete()
    make("failed", NOON)
    call_command("rolluphours", "--rebuild", "--since", "2000-01-01", stdout=StringIO())
    assert [status for _, status, _, _ in counted()] == ["completed", "failed"]


def test_the_command_says_what_it_cannot_read_and_that_there_is_nothing(db: None) -> None:
    with pytest.raises(CommandError, match="no date or time"):
        call_command("rolluphours", "--since", "yesterday")
    out = StringIO()
    call_command("rolluphours", stdout=out)
    assert "There are no runs." in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_two_who_count_the_same_hours_at_once_count_them_once(make_run: MakeRun) -> None:
    at = clock.now() - timedelta(hours=2)
    for kind in ("completed", "aborted", "failed"):
        make_run(kind, received_at=at)
    hour = hour_of(at)
    failures: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(5):
                roll_up(hour, hour + HOUR)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert sum(row.runs for row in RunHour.objects.all()) == 3


def test_a_day_is_the_sum_of_its_hours_whichever_is_counted_anew(db: None, at_six: datetime) -> None:
    for hours in (-13, -12, 0, 5):
        make("completed", NOON + hours * HOUR, output_tokens=hours + 20)
    keep_up(NOON - timedelta(days=1), at_six)
    make("completed", NOON, output_tokens=0)
    roll_up(NOON, NOON)
    today, yesterday = NOON.replace(hour=0), NOON.replace(hour=0) - timedelta(days=1)
    found = {row.day: (row.runs, row.output_tokens, row.worked_ms) for row in RunDay.objects.all()}
    assert found == {yesterday: (1, 7, 1198), today: (4, 8 + 20 + 25, 4 * 1198)}


def test_a_long_time_and_its_parts_say_the_same(db: None, at_six: datetime) -> None:
    for kind in KINDS:
        for hours in (1, 30, 200):
            make(kind, at_six - hours * HOUR)
    keep_up(at_six - timedelta(days=30), at_six)
    month, fortnight = (Figures(at_six - timedelta(days=days), at_six) for days in (30, 14))
    assert (month.step, fortnight.step) == (timedelta(days=1), timedelta(hours=6))
    assert month.endings == fortnight.endings
    assert month.aborts == fortnight.aborts
    assert month.savings == fortnight.savings


# -- what is read from them ---------------------------------------------------------------------------


def test_percentiles_are_the_bounds_of_their_buckets(db: None, at_six: datetime) -> None:
    told = NOON + ms(500)
    for latency in [3] * 94 + [70] * 5:
        make("aborted", NOON, settled_at=told + ms(latency))
    make("unresponsive", NOON)
    keep_up(NOON, at_six)
    histogram = Figures(NOON, at_six).latencies
    assert histogram.total == 100
    assert [histogram.percentile(percent) for percent in (50, 94, 95, 99, 100)] == [5, 5, 100, 100, BEYOND_MS]
    assert Figures(NOON + HOUR, at_six).latencies.percentile(50) is None


def test_savings_are_the_mean_of_the_completed_less_what_was_spent(db: None, at_six: datetime) -> None:
    for tokens in (100, 300):
        make("completed", NOON, output_tokens=tokens)
    for tokens in (20, 30):
        make("aborted", NOON, output_tokens=tokens)
    make("aborted", NOON, agent="other", output_tokens=5)
    make("unresponsive", NOON, output_tokens=7)
    keep_up(NOON, at_six)
    other, scripted = Figures(NOON, at_six).savings
    assert (scripted.agent, scripted.runs, scripted.tokens) == ("scripted", 2, 2 * 200 - 50)
    assert scripted.time == ms(2 * 1198 - 997)  # of 498.4 ms each, summed and rounded
    assert (other.agent, other.tokens, other.time) == ("other", None, None)


def test_runs_that_cost_more_than_the_completed_ones_saved_nothing(db: None, at_six: datetime) -> None:
    make("completed", NOON, output_tokens=10, settled_at=NOON + ms(3))
    make("aborted", NOON, output_tokens=50)
    keep_up(NOON, at_six)
    assert [(saving.tokens, saving.time) for saving in Figures(NOON, at_six).savings] == [(0, timedelta())]


def test_every_run_is_in_the_chart_once(db: None, at_six: datetime) -> None:
    for kind in KINDS:
        make(kind, NOON + HOUR)
    make("aborted", NOON, abort_outcome=AbortOutcome.UNKNOWN)
    make("aborted", NOON, abort_outcome="", started_at=None)
    keep_up(NOON, at_six)
    figures = Figures(NOON, at_six)
    assert figures.endings == {"completed": 1, "stopped": 2, "unproved": 2, "failed": 1, "rejected": 1, "open": 1}
    assert figures.total == len(KINDS) + 2
    assert [step.since.hour for step in figures.steps] == [12, 13, 14, 15, 16, 17]


@pytest.mark.parametrize(("days", "hours"), [(1, 1), (7, 3), (14, 6), (30, 24), (92, 24)])
def test_a_chart_has_few_enough_bars(db: None, days: int, hours: int) -> None:
    figures = Figures(NOON - timedelta(days=days), NOON)
    assert figures.step == timedelta(hours=hours)
    assert 20 < len(figures.steps) <= 93
    assert sum(step.total for step in figures.steps) == 0
