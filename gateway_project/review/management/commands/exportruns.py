"""``manage.py exportruns --format jsonl|csv [--since …] [--status …]``: runs' records on stdout, the oldest first."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.http import urlencode

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.review.access import Onlooker, note_look
from gateway_project.review.command_line import os_user
from gateway_project.review.export import FORMATS, runs_in_order
from gateway_project.review.models import Accessed, AccessVia
from gateway_project.review.paging import Selection
from gateway_project.review.questions import QUESTIONS
from gateway_project.runs.models import Run
from gateway_project.runs.sql import storable


class Command(BaseCommand):
    """Export the runs."""

    help = "Write the records of the runs to stdout, the oldest first. Times are UTC with microseconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--format``, ``--since``, ``--until``, and the filters of the admin's list."""
        parser.add_argument("--format", choices=sorted(FORMATS), default="jsonl", help="Default: jsonl.")
        parser.add_argument(
            "--since", help="Only runs received since this date or time (ISO 8601; without an offset it is UTC)."
        )
        parser.add_argument("--until", help="Only runs received until then; a date alone includes the day.")
        parser.add_argument("--search", default="", metavar="TERM", help="As in the admin.")
        for name, question in QUESTIONS.items():
            choices = [value for value, _ in question.choices()] if question.closed else None
            parser.add_argument(f"--{name.replace('_', '-')}", dest=name, choices=choices, help="As in the admin.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write line by line: memory stays constant, whatever the number of runs."""
        runs = Selection(
            Run.objects.using(gateway_settings().DATABASE),
            {name: options[name] or "" for name in QUESTIONS},
            term=options["search"].strip(),
            since=_moment(options, "since"),
            until=_moment(options, "until") or clock.now(),
        )
        note_look(Onlooker(AccessVia.COMMAND, "os_user", "", os_user()), Accessed.EXPORT, asked=_filter(options))
        try:
            for line in FORMATS[options["format"]](runs_in_order(runs)):
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # The reader (`| head`) has enough. Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _filter(options: dict[str, Any]) -> str:
    """What was asked for, as the admin's list would spell it."""
    asked = {"q": options["search"], **{name: options[name] for name in ("since", "until", *QUESTIONS)}}
    return urlencode({name: storable(value) for name, value in asked.items() if value})


def _moment(options: dict[str, Any], name: str) -> Any:
    try:
        return clock.parse_moment(options[name], end_of_day=name == "until") if options[name] else None
    except ValueError as error:
        raise CommandError(f"--{name}: {error}") from None
