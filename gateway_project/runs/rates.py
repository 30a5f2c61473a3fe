"""What a principal has spent in the last minute, over all processes: the records are the window."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.runs.models import Run
from gateway_project.runs.record import RunRecord
from gateway_project.runs.sql import adapted
from gateway_project.runs.statement import Statement
from gateway_project.runs.vocabulary import RunStatus

WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Spent:
    """In the last minute. `retry_after`: seconds until the oldest of it no longer counts."""

    runs: int
    tokens: int
    retry_after: float


_SPENT = Statement(
    "SELECT count(*), sum(input_tokens + output_tokens), min(received_at) "  # noqa: S608 (the name is ours)
    f"FROM {Run._meta.db_table} "
    "WHERE principal_kind = %s AND principal_id = %s AND principal_label = %s AND received_at > %s AND status <> %s"
)


def spent_lately(record: RunRecord, connection: BaseDatabaseWrapper) -> Spent:
    """Count the runs and tokens of `record`'s principal. Refused requests cost nothing."""
    now = clock.now()
    whose = (record.principal_kind, record.principal_id, record.principal_label)
    parameters = [*whose, adapted(now - WINDOW, connection), str(RunStatus.REJECTED)]
    ((runs, tokens, first),) = _SPENT.rows(parameters, connection)
    oldest = now if first is None else _moment(first)
    return Spent(runs, tokens or 0, max(1.0, (oldest + WINDOW - now).total_seconds()))


def _moment(value: datetime | str) -> datetime:
    """SQLite has no type for times, and gives what it has computed as it was stored."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value
