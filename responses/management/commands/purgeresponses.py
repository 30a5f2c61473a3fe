"""``manage.py purgeresponses``: delete stored responses whose time is over."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections, transaction
from django.db.models import Exists, OuterRef

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.models import Run
from gateway_project.runs.retention.holds import held_among, keep_holds_out

from ...belongings import StoredResponses
from ...models import StoredResponse


class Command(BaseCommand):
    """Delete in batches, so that nobody waits for it. Stopped in the middle, it goes on where it was."""

    help = (
        "Delete the stored responses that are older than GATEWAY['RESPONSES']['RETENTION_DAYS'] said when they came. "
        "Those of runs under a legal hold stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--batch`` and ``--dry-run``."""
        parser.add_argument("--batch", type=int, default=500, help="How many responses a transaction deletes.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete what has expired by now."""
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        alias = gateway_settings().DATABASE
        held = Run.objects.filter(pk=OuterRef("pk")).held()
        expired = StoredResponse.objects.using(alias).filter(~Exists(held), expires_at__lte=clock.now())
        try:
            if options["dry_run"]:
                self.stdout.write(f"{expired.count()} stored responses have expired.")
                return
            deleted = 0
            oldest = expired.order_by("expires_at").values_list("pk", flat=True)
            while batch := list(oldest[: options["batch"]]):
                with transaction.atomic(using=alias):
                    keep_holds_out(connections[alias])
                    free = sorted(set(batch) - held_among(batch, connections[alias]))
                    StoredResponses().purge(free, connections[alias])
                    deleted += len(free)
        except DatabaseError as error:
            raise CommandError(f"The database does not take it: {error}") from error
        self.stdout.write(f"Deleted {deleted} stored responses.")
