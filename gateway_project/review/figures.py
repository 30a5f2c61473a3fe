"""The overview's figures, read from the hourly counts: no query here sees the table of runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypedDict, cast

from django.db.models import F, Q, QuerySet, Sum

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.review.models import KINDS, MEASURES, AbortLatencyHour, RunDay, RunHour
from gateway_project.review.questions import QUESTIONS
from gateway_project.review.rollups import BEYOND_MS, DAY, HOUR, LATENCY_BOUNDS_MS, day_of, hour_of
from gateway_project.runs.vocabulary import OPEN_STATUSES, AbortOutcome, RunStatus

_STEPS = ((60 * HOUR, HOUR), (7.5 * DAY, 3 * HOUR), (15 * DAY, 6 * HOUR))
"""Up to which length of time a bar of the chart stands for how much of it. Beyond them for a day."""

ENDINGS: Mapping[str, str] = {
    "completed": "Completed",
    "stopped": "Aborted, agent stopped",
    "unproved": "Aborted, stop not seen",
    "failed": "Failed",
    "rejected": "Rejected",
    "open": "Not ended yet",
}
"""How a run ended, in the fewest words that tell the good from the bad."""


def ending(status: str, outcome: str) -> str:
    """Which of `ENDINGS` a run has. One that was aborted before its agent began has no outcome: nothing ran."""
    if status in OPEN_STATUSES:
        return "open"
    if status == RunStatus.ABORTED:
        unproved = (AbortOutcome.UNRESPONSIVE, AbortOutcome.UNKNOWN, AbortOutcome.ERRORED)
        return "unproved" if outcome in unproved else "stopped"
    return status


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of the chart over time: from when to when, and how many runs ended in which way."""

    since: datetime
    until: datetime
    runs: Mapping[str, int]

    @property
    def total(self) -> int:
        """All runs that arrived in it."""
        return sum(self.runs.values())


@dataclass(frozen=True, slots=True)
class Saving:
    """What stopping an agent's runs spared, going by those of its runs that were completed."""

    agent: str
    runs: int
    tokens: int | None
    time: timedelta | None


@dataclass(frozen=True)
class Histogram:
    """Abort latencies in buckets: ``{upper bound in ms: runs}``."""

    buckets: Mapping[int, int]

    @cached_property
    def total(self) -> int:
        """All aborts that were timed."""
        return sum(self.buckets.values())

    def percentile(self, percent: float) -> int | None:
        """The upper bound, in ms, of the bucket in which the percentile lies (nearest rank)."""
        rank, seen = self.total * percent / 100, 0
        for bound in sorted(self.buckets):
            seen += self.buckets[bound]
            if seen >= rank and seen:
                return bound
        return None


class _Sums(TypedDict):
    """The hourly counts of one kind of run, summed over the time."""

    agent: str
    status: str
    abort_cause: str
    abort_phase: str
    abort_outcome: str
    runs: int
    undelivered: int
    worked_runs: int
    worked_ms: int
    counted_runs: int
    output_tokens: int
    unsent_tokens: int


class Figures:
    """All figures of the time from `since` to `until`, in whole hours or days, of one agent or of all.

    Its own `since` and `until` are what is counted: to before the end of the last hour or day, or to now.
    """

    def __init__(self, since: datetime, until: datetime, agent: str = "") -> None:
        self.agent = agent
        self.step = next((step for longest, step in _STEPS if until - since <= longest), DAY)
        """How much time a bar of the chart stands for."""
        first, whole = (day_of, DAY) if self.step == DAY else (hour_of, HOUR)
        self.since = first(since)
        self.until = max(until, min(first(until - clock.SMALLEST) + whole, clock.now()))
        self._of_agent = QUESTIONS["agent"].condition(agent) or Q() if agent else Q()

    def _rows(self) -> QuerySet[Any]:
        """Hours, or whole days where these will do: they are twenty-four times fewer. ``at`` is their beginning."""
        alias = gateway_settings().DATABASE
        if self.step == DAY:
            rows: QuerySet[Any] = RunDay.objects.using(alias).annotate(at=F("day"))
            rows = rows.filter(day__gte=self.since, day__lt=self.until)
        else:
            rows = RunHour.objects.using(alias).annotate(at=F("hour"))
            rows = rows.filter(hour__gte=self.since, hour__lt=self.until)
        return rows.filter(self._of_agent).order_by()

    @cached_property
    def steps(self) -> Sequence[Step]:
        """The chart over time, without gaps."""
        counts: dict[datetime, Counter[str]] = {}
        rows = self._rows().values_list("at", "status", "abort_outcome").annotate(sum=Sum("runs"))
        for at, status, outcome, runs in rows:
            counts.setdefault(self._step_of(at), Counter())[ending(status, outcome)] += runs
        return list(self._all_steps(counts))

    def _all_steps(self, counts: Mapping[datetime, Counter[str]]) -> Iterable[Step]:
        at = self._step_of(self.since)
        while at < self.until:
            found = counts.get(at, Counter())
            since, until = max(at, self.since), min(at + self.step, self.until)
            yield Step(since, until, {key: found[key] for key in ENDINGS})
            at += self.step

    def _step_of(self, at: datetime) -> datetime:
        return at - (at - datetime(2000, 1, 1, tzinfo=UTC)) % self.step

    @cached_property
    def endings(self) -> Mapping[str, int]:
        """Runs by how they ended."""
        return {key: sum(step.runs[key] for step in self.steps) for key in ENDINGS}

    @cached_property
    def total(self) -> int:
        """All runs."""
        return sum(self.endings.values())

    @cached_property
    def _kinds(self) -> Sequence[_Sums]:
        """One pass over the counts; a few dozen rows, of which the rest is read."""
        rows = self._rows().values(*KINDS).annotate(**{name: Sum(name) for name in MEASURES})
        return [cast(_Sums, row) for row in rows]

    @cached_property
    def aborts(self) -> Mapping[tuple[str, str], int]:
        """``{(cause, phase): runs}`` of those that were told to stop."""
        counts: Counter[tuple[str, str]] = Counter()
        for row in self._kinds:
            if row["abort_cause"]:
                counts[row["abort_cause"], row["abort_phase"]] += row["runs"]
        return counts

    @cached_property
    def latencies(self) -> Histogram:
        """How long agents took to stop."""
        rows = AbortLatencyHour.objects.using(gateway_settings().DATABASE).filter(self._of_agent).order_by()
        rows = rows.filter(hour__gte=self.since, hour__lt=self.until)
        found = dict(rows.values_list("up_to_ms").annotate(sum=Sum("runs")))
        return Histogram({bound: found.get(bound, 0) for bound in (*LATENCY_BOUNDS_MS, BEYOND_MS)})

    @cached_property
    def unresponsive(self) -> int:
        """Agents that were still alive after their grace period."""
        return sum(row["runs"] for row in self._kinds if row["abort_outcome"] == AbortOutcome.UNRESPONSIVE)

    @cached_property
    def undelivered(self) -> int:
        """Answers that were finished and did not wholly leave."""
        return sum(row["undelivered"] for row in self._kinds if row["status"] == RunStatus.COMPLETED)

    @cached_property
    def unsent(self) -> int:
        """Output tokens that agents spent on streams after their client had gone."""
        return sum(row["unsent_tokens"] for row in self._kinds)

    @cached_property
    def savings(self) -> Sequence[Saving]:
        """An estimate, agent by agent: see `_saving`."""
        stopped = [row for row in self._kinds if row["abort_outcome"] == AbortOutcome.STOPPED]
        whole = [row for row in self._kinds if row["status"] == RunStatus.COMPLETED and not row["abort_cause"]]
        return [
            _saving(
                agent,
                [row for row in stopped if row["agent"] == agent],
                [row for row in whole if row["agent"] == agent],
            )
            for agent in sorted({row["agent"] for row in stopped})
        ]


def _saving(agent: str, stopped: Iterable[_Sums], whole: Iterable[_Sums]) -> Saving:
    """Had each stopped run gone on to the mean of the completed ones: what of it did not happen?"""
    spent, full = _summed(stopped), _summed(whole)
    tokens: int | None = None
    time: timedelta | None = None
    if full["counted_runs"]:
        mean_tokens = full["output_tokens"] / full["counted_runs"]
        tokens = max(0, round(mean_tokens * spent["counted_runs"]) - spent["output_tokens"])
    if full["worked_runs"]:
        mean_ms = full["worked_ms"] / full["worked_runs"]
        time = timedelta(milliseconds=max(0.0, mean_ms * spent["worked_runs"] - spent["worked_ms"]))
    return Saving(agent, spent["runs"], tokens, time)


def _summed(rows: Iterable[_Sums]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in rows:
        sums.update({name: row[name] for name in MEASURES})  # type: ignore[literal-required]  # all are keys
    return sums
