"""What the process reports of itself to ``/readyz``."""

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.execution.supervisor import current_supervisor
from gateway_project.observe.health import ProbeResult, register_probe
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
    """Put both on the list."""
    register_probe("supervisor", probe_supervisor)
    register_probe("journal", probe_journal)
