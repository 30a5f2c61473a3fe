"""What may be asked of the runs, in one place: the admin's filters, the API's and the export's are these."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from django.db.models import Q, QuerySet
from django.db.models.enums import Choices

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.ids import parse_run_id
from gateway_project.runs.labels import labelled
from gateway_project.runs.models import CLIENT_GONE, SLOW_ABORT, Run
from gateway_project.runs.sql import storable
from gateway_project.runs.vocabulary import (
    OPEN_STATUSES,
    AbortCause,
    AbortOutcome,
    AbortPhase,
    Endpoint,
    RunStatus,
)

Choice = tuple[str, str]


def is_storable(value: str) -> bool:
    """Whether a database can hold that text: PostgreSQL refuses a query with any other."""
    return bool(storable(value) == value)


class Question(Protocol):
    """One thing that may be asked, by a value."""

    @property
    def closed(self) -> bool:
        """Whether the choices are all values that there are."""

    @property
    def indexed(self) -> bool:
        """Whether an index has just the runs of a value, in the order of their arrival."""

    def choices(self) -> Sequence[Choice]:
        """Value and label of what is offered. Fixed or from the settings: never looked up in the table."""

    def condition(self, value: str) -> Q | None:
        """The runs that it finds, or None when there is no such value."""


@dataclass(frozen=True, slots=True)
class Named:
    """A fixed set of named conditions."""

    options: Mapping[str, tuple[str, Q]]
    indexed: bool = False
    closed: bool = True

    def choices(self) -> Sequence[Choice]:
        """The names."""
        return [(value, label) for value, (label, _) in self.options.items()]

    def condition(self, value: str) -> Q | None:
        """That of the option."""
        return self.options[value][1] if value in self.options else None


@dataclass(frozen=True, slots=True)
class Period:
    """A time range that ends now."""

    periods: Mapping[str, tuple[str, timedelta]]
    indexed: bool = True  # the arrival is the order of every index
    closed: bool = True

    def choices(self) -> Sequence[Choice]:
        """The ranges."""
        return [(value, label) for value, (label, _) in self.periods.items()]

    def condition(self, value: str) -> Q | None:
        """The runs that arrived in it."""
        return Q(received_at__gte=clock.now() - self.periods[value][1]) if value in self.periods else None


@dataclass(frozen=True, slots=True)
class Column:
    """One column, with one value, as `read` reads it; None is what it cannot hold. `also` must hold with it."""

    name: str
    values: Callable[[], Iterable[Choice]] = tuple
    closed: bool = False
    indexed: bool = False
    read: Callable[[str], object] = str
    also: Q = field(default_factory=Q)

    def choices(self) -> Sequence[Choice]:
        """The values that are offered."""
        return list(self.values())

    def condition(self, value: str) -> Q | None:
        """The runs that have it."""
        stored = self.read(value) if is_storable(value) else None
        return Q(pk__in=()) if stored is None else Q(**{self.name: stored}) & self.also


def _vocabulary(name: str, choices: type[Choices]) -> Column:
    return Column(name, lambda: choices.choices, closed=True, indexed=True)


def _agents() -> Iterable[Choice]:
    return [(name, name) for name in gateway_settings().AGENTS]


QUESTIONS: Mapping[str, Question] = {
    "question": Named(
        {
            "running": ("Running now", Q(status__in=sorted(OPEN_STATUSES))),
            "client-gone": ("Client gone", CLIENT_GONE),
            "unresponsive": ("Agent did not stop", Q(abort_outcome=AbortOutcome.UNRESPONSIVE)),
            "slow-abort": ("Slow to stop (over 1 s)", SLOW_ABORT),
            "undelivered": ("Undelivered", Q(delivered=False)),
            "failed": ("Failed", Q(status=RunStatus.FAILED)),
        },
        indexed=True,
    ),
    "period": Period(
        {
            "1h": ("Last hour", timedelta(hours=1)),
            "24h": ("Last 24 hours", timedelta(hours=24)),
            "7d": ("Last 7 days", timedelta(days=7)),
            "30d": ("Last 30 days", timedelta(days=30)),
        }
    ),
    "status": _vocabulary("status", RunStatus),
    "abort_cause": _vocabulary("abort_cause", AbortCause),
    "abort_outcome": _vocabulary("abort_outcome", AbortOutcome),
    "abort_phase": _vocabulary("abort_phase", AbortPhase),
    "endpoint": _vocabulary("endpoint", Endpoint),
    "agent": Column("agent", _agents, indexed=True),
    "streaming": Named({"yes": ("Streaming", Q(streaming=True)), "no": ("Not streaming", Q(streaming=False))}),
    "principal": Column("principal_label", indexed=True),
    "key": Column("principal_id", indexed=True, also=Q(principal_kind="api_key")),
    "model": Column("model", indexed=True),
    "client_request_id": Column("client_request_id"),
    "client_address": Column("client_address", indexed=True),
    "worker": Column("worker", indexed=True),
    "parent_run": Column("parent_run", indexed=True, read=parse_run_id),
}
"""Name in addresses → question."""


def complaint(name: str, value: str) -> str | None:
    """What is wrong with a value of that question, in words: it is none of those that there are."""
    question = QUESTIONS[name]
    if value and question.closed and value not in dict(question.choices()):
        return f"There is no such {name}: {value!r}."
    return None


_BY_SELECTIVITY = (
    "parent_run",
    "abort_outcome",
    "question",
    "abort_cause",
    "abort_phase",
    "key",
    "principal",
    "client_address",
    "status",
    "worker",
    "model",
    "agent",
    "endpoint",
)
"""Of several indexed conditions one can lead. The first of these is likely to have the fewest runs."""


def conditions(asked: Mapping[str, str], *, may_lead: bool = True) -> tuple[Q, Q]:
    """What an index has in the order of arrival, and what remains to be looked at, row by row.

    Args:
        asked: values by the names in `QUESTIONS`; other names and unknown values ask for nothing.
        may_lead: whether an index may be followed for one of them.
    """
    lead, rest = Q(), Q()
    for name in sorted(QUESTIONS, key=_rank):
        value = asked.get(name, "")
        found = QUESTIONS[name].condition(value) if value else None
        if found is None:
            continue
        if name == "period":  # Every index goes by time.
            lead &= found
        elif may_lead and QUESTIONS[name].indexed:
            lead &= found
            may_lead = False
        else:
            rest &= found
    return lead, rest


def moments(asked: Mapping[str, str]) -> dict[str, datetime]:
    """What ``since`` and ``until`` say, as `clock.parse_moment` reads them; a date alone as ``until`` includes the day.

    Raises:
        ValueError: saying what is wrong, to be shown.
    """
    return {
        name: clock.parse_moment(asked[name], end_of_day=name == "until")
        for name in ("since", "until")
        if asked.get(name)
    }


def arrived(*, since: datetime | None = None, until: datetime | None = None) -> Q:
    """The runs that arrived between those times, both included."""
    after = Q() if since is None else Q(received_at__gte=since)
    before = Q() if until is None else Q(received_at__lte=until)
    return after & before


SEARCHED = (
    "a run's id in any spelling, a principal's exact name, the beginning of a client's request id, "
    "or a label (user:…, safety_identifier:…, prompt_cache_key:…, metadata.KEY:…)"
)


def search(runs: "QuerySet[Run]", term: str) -> Q:
    """What `term` finds, as `SEARCHED` says: the first of these that there is among `runs`.

    An index leads to each of them, and none to all in one condition: so the database is asked which one it is. Many
    clients' own request ids are UUIDs like ours.
    """
    run_id = parse_run_id(term)
    if run_id is not None and runs.filter(pk=run_id).exists():
        return Q(pk=run_id)
    with_label = labelled(term)
    if with_label is not None:
        return with_label
    if not is_storable(term):
        return Q(pk__in=())
    if runs.filter(principal_label=term).exists():
        return Q(principal_label=term)
    return Q(client_request_id__startswith=term) & ~Q(client_request_id="")  # as the index has it


def _rank(name: str) -> int:
    return _BY_SELECTIVITY.index(name) if name in _BY_SELECTIVITY else len(_BY_SELECTIVITY)
