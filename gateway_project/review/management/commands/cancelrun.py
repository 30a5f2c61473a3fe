"""``manage.py cancelrun ID``: ask that a run be aborted, and say what became of the request."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.ids import parse_run_id
from gateway_project.review.command_line import on_the_command_line
from gateway_project.runs.abort import AbortRequest, request_abort
from gateway_project.runs.vocabulary import AbortCause


class Command(BaseCommand):
    """Cancel a run."""

    help = "Ask that a run be aborted. Its worker does it within about a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """ID, ``--reason``."""
        parser.add_argument("id", help="The run's id: a UUID, or chatcmpl-… or resp_… as the client saw it.")
        parser.add_argument("--reason", default="", help="Why; it stays in the run's record.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and report. Asked is not stopped: the outcome is in the record afterwards."""
        run_id = parse_run_id(options["id"])
        if run_id is None:
            raise CommandError(f"{options['id']!r} is not the id of a run.")
        by = on_the_command_line()
        match request_abort(run_id, AbortCause.OPERATOR_CANCELLED, by=by, reason=options["reason"]):
            case AbortRequest.ASKED:
                self.stdout.write(f"Asked: {run_id}. Its worker aborts it within about a second.")
            case AbortRequest.ALREADY_ASKED:
                self.stdout.write(f"The abort of {run_id} had been asked already. This request is kept as a note.")
            case AbortRequest.ALREADY_ENDED:
                raise CommandError(f"{run_id} had ended already. Nothing was changed.")
            case AbortRequest.UNKNOWN_RUN:
                raise CommandError(f"There is no run {run_id}.")
