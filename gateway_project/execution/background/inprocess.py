"""Background runs in the process that was asked: they share its admission, and end with it."""

from gateway_project.execution.background.base import BackgroundBackend, starter_of
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import Endpoint


class InProcess(BackgroundBackend):
    """Starts a run at once, or queues it here."""

    def check_room(self, record: RunRecord) -> None:
        """As the supervisor would."""
        current_supervisor().check_room(record)

    async def submit(self, record: RunRecord) -> None:
        """Start it."""
        await starter_of(Endpoint(record.endpoint))(record.id)
