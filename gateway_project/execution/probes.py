"""What the process reports of itself to ``/readyz`` and ``/metrics``."""

from collections.abc import Callable

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.execution.supervisor import Supervisor, current_supervisor
from gateway_project.observe.health import ProbeResult, register_probe
from gateway_project.observe.metrics import register_gauge
from gateway_project.runs.journal import JournalUnavailable, Query
from gateway_project.runs.models import Run


async def probe_supervisor() -> ProbeResult:
    """Red while the process drains."""
    supervisor = current_supervisor()
    detail = (
        f"{len(supervisor.runs)} runs, {supervisor.admission.waiting} waiting, "
        f"{len(supervisor.unresponsive)} unresponsive agents"
    )
    return ProbeResult(ready=not supervisor.draining, detail="draining" if supervisor.draining else detail)


async def probe_journal() -> ProbeResult:
    """Red while the database takes no records."""
    try:
        await current_supervisor().write(Query(_look_at_runs))
    except JournalUnavailable as error:
        return ProbeResult(ready=False, detail=str(error))
    return ProbeResult(ready=True)


def _look_at_runs(connection: BaseDatabaseWrapper) -> bool:
    return Run.objects.using(connection.alias).exists()


def register() -> None:
    """Put all of it on the lists."""
    register_probe("supervisor", probe_supervisor)
    register_probe("journal", probe_journal)
    for name, help_, value in _GAUGES:
        register_gauge(name, help_, _of_supervisor(value))


_GAUGES: tuple[tuple[str, str, Callable[[Supervisor], float]], ...] = (
    ("gateway_runs_open", "Runs that are queued or running.", lambda s: len(s.runs)),
    ("gateway_runs_waiting", "Runs that wait for a place.", lambda s: s.admission.waiting),
    (
        "gateway_agents_unresponsive",
        "Agents that outlived their grace period and have not ended.",
        lambda s: len(s.unresponsive),
    ),
    ("gateway_journal_waiting", "Changes that wait to be written.", lambda s: s.journal.waiting),
    ("gateway_journal_available", "Whether the database takes records.", lambda s: s.journal.available),
    ("gateway_draining", "Whether the process is ending.", lambda s: s.draining),
)


def _of_supervisor(value: Callable[[Supervisor], float]) -> Callable[[], float]:
    return lambda: value(current_supervisor())
