"""``manage.py rolluphours [--since …] [--rebuild]``: count the runs by the hour, for the overview."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project import clock
from gateway_project.review.rollups import HOUR, first_hour, hour_of, keep_up, roll_up

_AT_ONCE = timedelta(hours=24)


class Command(BaseCommand):
    """Keep the hourly figures, or make them anew from the runs."""

    help = (
        "Count the runs of every hour that is not counted yet, for the overview in the admin. Safe beside serving "
        "processes and beside itself, and as often as you like: every few minutes keeps the overview quick."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--since``, ``--rebuild``."""
        parser.add_argument("--since", help="Only hours from this date or time on (ISO 8601; without an offset, UTC).")
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="Count hours anew that are counted already. Figures older than the oldest run that is left are kept.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, and say what was done."""
        try:
            since = clock.parse_moment(options["since"], end_of_day=False) if options["since"] else None
        except ValueError as error:
            raise CommandError(f"--since: {error}") from None
        first = first_hour()
        if first is None:
            self.stdout.write("There are no runs.")
            return
        first = max(first, hour_of(since)) if since else first
        if options["rebuild"]:
            self._rebuild(first)
        else:
            keep_up(first, clock.now())
            self.stdout.write(f"The hours since {first:%Y-%m-%d %H:%M} UTC are counted.")

    def _rebuild(self, first: datetime) -> None:
        last = hour_of(clock.now())
        runs, hour = 0, first
        while hour <= last:
            runs += roll_up(hour, min(last, hour + _AT_ONCE - HOUR))
            hour += _AT_ONCE
            if self.stderr.isatty():
                self.stderr.write(f"\r{min(hour, last):%Y-%m-%d %H:%M} …", ending="")
        self.stdout.write(f"The hours since {first:%Y-%m-%d %H:%M} UTC are counted anew: {runs} runs.")
