"""Runs counted by the hour of their arrival, so that figures over months are read from few rows.

Nobody counts while runs are written: an hour is counted from its runs, as a whole, by a command or when somebody looks.
So writers share no counter, and counting an hour twice gives what counting it once gives.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.db import models, transaction
from django.db.models import Case, Count, F, Min, Q, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDay, TruncHour

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.review.models import KINDS, MEASURES, AbortLatencyHour, RolledHour, RunDay, RunHour
from gateway_project.runs.models import CLIENT_GONE, Run
from gateway_project.runs.vocabulary import OPEN_STATUSES, AbortOutcome

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

LATE = timedelta(hours=1)
"""How long after its end an hour may still get runs: a record can wait in a spill file while the database is away.
What comes later still is counted by ``rolluphours --rebuild``."""

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
BEYOND_MS = 2**31 - 1
"""The bucket of what took longer than the last bound, or was not seen to stop at all."""

_STALE = timedelta(minutes=10)
_STALE_CURRENT = timedelta(minutes=1)
_RUNS_A_STEP = 10_000
_MOST_HOURS_A_STEP = 31 * 24


def hour_of(at: datetime) -> datetime:
    """The first moment of its hour, UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: datetime) -> datetime:
    """The first moment of its day, UTC."""
    return hour_of(at).replace(hour=0)


def first_hour() -> datetime | None:
    """The hour of the oldest run there is."""
    oldest = Run.objects.using(gateway_settings().DATABASE).aggregate(at=Min("received_at"))["at"]
    return None if oldest is None else hour_of(oldest)


def hours_between(first: datetime, last: datetime) -> Iterator[datetime]:
    """Every hour from the one to the other, both included."""
    hour = first
    while hour <= last:
        yield hour
        hour += HOUR


def due_hours(since: datetime, until: datetime) -> list[datetime]:
    """The hours between them that are not counted, or not finally and a while ago; the newest first."""
    now, first, last = clock.now(), hour_of(since), hour_of(until)
    current = hour_of(now)
    rolled = RolledHour.objects.using(gateway_settings().DATABASE).filter(hour__range=(first, last))
    good = {
        hour
        for hour, rolled_at, settled in rolled.values_list("hour", "rolled_at", "settled")
        if settled or (rolled_at and rolled_at > now - (_STALE_CURRENT if hour == current else _STALE))
    }
    return [hour for hour in hours_between(first, last) if hour not in good][::-1]


def keep_up(since: datetime, until: datetime, *, within: float | None = None) -> int:
    """Count what is due between them, the newest hours first, for about `within` seconds, and a step at least.

    Returns:
        How many hours are left to count.
    """
    began = clock.monotonic()
    due = due_hours(since, until)
    while due:
        span = _one_step(due)
        due = due[len(span) :]
        roll_up(span[-1], span[0])
        if within is not None and clock.monotonic() - began >= within:
            break
    return len(due)


def _one_step(hours: Sequence[datetime]) -> Sequence[datetime]:
    """The beginning of `hours`, which go back in time: without gaps, and one hour or not too many runs."""
    back_to = _hour_of_nth_run_before(hours[0] + HOUR)
    for index in range(1, min(len(hours), _MOST_HOURS_A_STEP)):
        if hours[index - 1] - hours[index] != HOUR or (back_to and hours[index] <= back_to):
            return hours[:index]
    return hours[:_MOST_HOURS_A_STEP]


def _hour_of_nth_run_before(end: datetime) -> datetime | None:
    runs = Run.objects.using(gateway_settings().DATABASE).filter(received_at__lt=end).newest_first()
    found = runs.values_list("received_at", flat=True)[_RUNS_A_STEP : _RUNS_A_STEP + 1]
    return next((hour_of(at) for at in found), None)


def roll_up(first: datetime, last: datetime) -> int:
    """Count the hours from `first` to `last`, both included, in place of what was counted before.

    Whoever counts in the same days at the same time waits. Returns the number of runs.
    """
    alias = gateway_settings().DATABASE
    hours = list(hours_between(hour_of(first), hour_of(last)))
    locks = sorted({*hours, *map(day_of, hours)})
    with transaction.atomic(using=alias):
        rolled = RolledHour.objects.using(alias)
        rolled.bulk_create([RolledHour(hour=hour) for hour in locks], ignore_conflicts=True)
        list(rolled.filter(hour__in=locks).order_by("hour").select_for_update().values_list("hour"))
        now = clock.now()
        counted = list(_count(hours[0], hours[-1]))
        latencies = list(_latencies(hours[0], hours[-1]))
        for model in (RunHour, AbortLatencyHour):
            model.objects.using(alias).filter(hour__range=(hours[0], hours[-1])).delete()
        RunHour.objects.using(alias).bulk_create(counted, batch_size=500)
        AbortLatencyHour.objects.using(alias).bulk_create(latencies, batch_size=500)
        _sum_days(day_of(hours[0]), day_of(hours[-1]), alias)
        unsettled = {row.hour for row in counted if row.status in OPEN_STATUSES}
        unsettled |= {hour for hour in hours if now < hour + HOUR + LATE}
        rolled.filter(hour__in=hours).update(rolled_at=now, settled=True)
        rolled.filter(hour__in=unsettled).update(settled=False)
    return sum(row.runs for row in counted)


def _sum_days(first: datetime, last: datetime, alias: str) -> None:
    hours = RunHour.objects.using(alias).filter(hour__gte=first, hour__lt=last + DAY).order_by()
    rows = hours.annotate(day=TruncDay("hour", tzinfo=UTC)).values("day", *KINDS)
    sums = rows.annotate(**{f"sum_{name}": Sum(name) for name in MEASURES})
    days = [
        RunDay(**{name: row[name] for name in ("day", *KINDS)}, **{name: row[f"sum_{name}"] for name in MEASURES})
        for row in sums
    ]
    RunDay.objects.using(alias).filter(day__range=(first, last)).delete()
    RunDay.objects.using(alias).bulk_create(days, batch_size=500)


def _arrived(first: datetime, last: datetime) -> models.QuerySet[Run]:
    runs = Run.objects.using(gateway_settings().DATABASE).filter(received_at__gte=first, received_at__lt=last + HOUR)
    return runs.order_by().annotate(hour=TruncHour("received_at", tzinfo=UTC))


def _count(first: datetime, last: datetime) -> Iterable[RunHour]:
    ended = Coalesce("settled_at", "finished_at")
    worked = Q(started_at__isnull=False) & (Q(settled_at__isnull=False) | Q(finished_at__isnull=False))
    unsent = CLIENT_GONE & Q(streaming=True, output_tokens__gt=F("tokens_sent"))
    rows = (
        _arrived(first, last)
        .values("hour", *KINDS)
        .annotate(
            runs=Count("pk"),
            undelivered=Count("pk", filter=Q(delivered=False)),
            worked_runs=Count("pk", filter=worked),
            worked=Sum(ended - F("started_at"), filter=worked, output_field=models.DurationField()),
            counted_runs=Count("output_tokens"),
            all_output=Coalesce(Sum("output_tokens"), 0),
            unsent_tokens=Coalesce(Sum(F("output_tokens") - F("tokens_sent"), filter=unsent), 0),
        )
    )
    for row in rows:
        worked_ms = round((row.pop("worked") or timedelta()) / timedelta(milliseconds=1))
        output_tokens = row.pop("all_output")
        yield RunHour(**row, worked_ms=max(0, worked_ms), output_tokens=output_tokens)


def _latencies(first: datetime, last: datetime) -> Iterable[AbortLatencyHour]:
    """Of runs whose agent was at work when it was told to stop."""
    told = _arrived(first, last).filter(started_at__isnull=False, abort_requested_at__isnull=False)
    seen_or_not = Q(settled_at__gte=F("abort_requested_at")) | Q(abort_outcome=AbortOutcome.UNRESPONSIVE)
    buckets = [
        When(settled_at__lte=F("abort_requested_at") + timedelta(milliseconds=bound), then=Value(bound))
        for bound in LATENCY_BOUNDS_MS
    ]
    rows = (
        told.filter(seen_or_not)
        .annotate(up_to_ms=Case(*buckets, default=Value(BEYOND_MS), output_field=models.IntegerField()))
        .values("hour", "agent", "up_to_ms")
        .annotate(runs=Count("pk"))
    )
    return (AbortLatencyHour(**row) for row in rows)
