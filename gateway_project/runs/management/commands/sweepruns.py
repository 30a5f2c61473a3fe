"""``manage.py sweepruns``: close what dead processes left open, when no living one is there to do it."""

from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from gateway_project.conf import gateway_settings
from gateway_project.runs.alerts.office import Office
from gateway_project.runs.journal import Journal, JournalUnavailable
from gateway_project.runs.journal.spill import spill_folder
from gateway_project.runs.lease import Sweep, Swept

_WITHIN_SECONDS = 120.0
_ALERTS_SECONDS = 30.0
"""Nobody else may be there to tell of it."""


class Command(BaseCommand):
    """Sweep once, through a journal of its own, as every serving process does."""

    help = (
        "Close the runs of every worker whose lease has lapsed as aborted / worker_lost / unknown. Before that, write "
        "what dead processes left in their spill files. Safe beside serving processes, and as often as you like."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Sweep, and say what was done."""
        settings = gateway_settings()
        journal = Journal(settings.DATABASE, spill=spill_folder(settings.SPILL_DIR, settings.DATABASE))
        office = Office(settings)
        office.open()
        try:
            swept: Swept = async_to_sync(journal.write)(Sweep(), within=_WITHIN_SECONDS)
        except (JournalUnavailable, DatabaseError) as error:
            reason = str(error.__cause__ or error).strip()
            raise CommandError(f"Nothing was swept. The database does not take it: {reason}") from error
        finally:
            journal.stop(_WITHIN_SECONDS)
            office.close(within=_ALERTS_SECONDS)
        if journal.adopted:
            self.stdout.write(f"Wrote {_count(journal.adopted, 'record')} that dead processes had left in spill files.")
        if swept.runs:
            self.stdout.write(
                f"Closed {_count(swept.runs, 'run')} of lost workers as aborted / worker_lost / unknown. "
                f"Newly found lost: {_count(swept.workers, 'worker')}."
            )
        elif swept.workers:
            self.stdout.write(f"{_count(swept.workers, 'worker')} found lost, with no open runs.")
        else:
            self.stdout.write("Nothing to close: no worker's lease has lapsed, and no lost worker has an open run.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
