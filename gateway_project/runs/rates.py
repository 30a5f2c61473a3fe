"""What a principal has spent in the last minute, over all processes: the records are the window."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, F, Min, Sum

from gateway_project import clock
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import RunStatus

WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Spent:
    """In the last minute. `retry_after`: seconds until the oldest of it no longer counts."""

    runs: int
    tokens: int
    retry_after: float


def spent_lately(record: RunRecord, connection: BaseDatabaseWrapper) -> Spent:
    """Count the runs and tokens of `record`'s principal. Refused requests cost nothing."""
    now = clock.now()
    runs = Run.objects.using(connection.alias).filter(
        principal_kind=record.principal_kind,
        principal_id=record.principal_id,
        principal_label=record.principal_label,
        received_at__gt=now - WINDOW,
    )
    found = runs.exclude(status=RunStatus.REJECTED).aggregate(
        runs=Count("pk"), tokens=Sum(F("input_tokens") + F("output_tokens")), oldest=Min("received_at")
    )
    oldest = found["oldest"] or now
    return Spent(found["runs"], found["tokens"] or 0, max(1.0, (oldest + WINDOW - now).total_seconds()))
