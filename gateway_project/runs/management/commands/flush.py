"""``manage.py flush``: Django's own, allowed to empty the tables that are append-only. Test suites flush with it."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from gateway_project.runs.seals.triggers import maintenance


class Command(flush.Command):
    """Empty the database under maintenance."""

    def handle(self, **options: Any) -> None:
        """As Django does."""
        with maintenance(connections[options["database"]]):
            super().handle(**options)
