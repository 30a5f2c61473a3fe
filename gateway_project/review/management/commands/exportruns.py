"""``manage.py exportruns --format jsonl|csv [--since …]``: the runs' records on stdout, the oldest first."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project import clock
from gateway_project.review.export import as_csv, as_jsonl, runs_in_order

FORMATS = {"jsonl": as_jsonl, "csv": as_csv}


class Command(BaseCommand):
    """Export the runs."""

    help = "Write the records of the runs to stdout, the oldest first. Times are UTC with microseconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--format``, ``--since``."""
        parser.add_argument("--format", choices=sorted(FORMATS), default="jsonl", help="Default: jsonl.")
        parser.add_argument(
            "--since", help="Only runs received since this date or time (ISO 8601; without an offset it is UTC)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write line by line: memory stays constant, whatever the number of runs."""
        try:
            since = clock.parse_moment(options["since"], end_of_day=False) if options["since"] else None
        except ValueError as error:
            raise CommandError(f"--since: {error}") from None
        try:
            for line in FORMATS[options["format"]](runs_in_order(since)):
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # The reader (`| head`) has enough. Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
