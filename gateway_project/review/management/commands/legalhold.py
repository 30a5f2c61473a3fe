"""``manage.py legalhold``: keep runs from being purged or erased, until the hold is lifted."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.command_text import check_text
from gateway_project.conf import gateway_settings
from gateway_project.ids import parse_run_id
from gateway_project.review.command_line import on_the_command_line
from gateway_project.runs.retention.holds import UnknownRun, lift_hold, set_hold
from gateway_project.runs.retention.models import LegalHold


class Command(BaseCommand):
    """Set, list, lift."""

    help = (
        "Set a legal hold on a run or on all runs of a principal, lift one, or list those in force (without options)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--run``, ``--principal``, ``--lift``, ``--reason``."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--run", metavar="ID", help="Hold this run.")
        what.add_argument("--principal", nargs=2, metavar=("KIND", "ID"), help="Hold all its runs, and those to come.")
        what.add_argument("--lift", type=int, metavar="NUMBER", help="Lift the hold with this number.")
        parser.add_argument("--reason", default="", help="Why; it must be said.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked."""
        if options["run"] is None and options["principal"] is None and options["lift"] is None:
            self._list()
            return
        reason = check_text(LegalHold, "reason", options["reason"].strip(), given_as="--reason")
        by = on_the_command_line()
        if options["lift"] is not None:
            if not lift_hold(options["lift"], by=by, reason=reason):
                raise CommandError(f"There is no legal hold {options['lift']} in force.")
            self.stdout.write(f"Lifted: legal hold {options['lift']}.")
            return
        try:
            self.stdout.write(f"Set: {self._set(options, by, reason)}.")
        except UnknownRun as error:
            raise CommandError(str(error)) from None

    def _set(self, options: dict[str, Any], by: str, reason: str) -> LegalHold:
        if options["principal"] is not None:
            kind, id_ = options["principal"]
            if not kind or not id_:
                raise CommandError("Neither KIND nor ID may be empty.")
            check_text(LegalHold, "principal_kind", kind, given_as="KIND")
            check_text(LegalHold, "principal_id", id_, given_as="ID")
            return set_hold(kind=kind, principal_id=id_, by=by, reason=reason)
        run_id = parse_run_id(options["run"])
        if run_id is None:
            raise CommandError(f"{options['run']!r} is not the id of a run.")
        return set_hold(run=run_id, by=by, reason=reason)

    def _list(self) -> None:
        for hold in LegalHold.objects.using(gateway_settings().DATABASE).in_force():
            what = f"run {hold.run}" if hold.run else f"{hold.principal_kind} {hold.principal_id}"
            self.stdout.write(f"{hold.pk}  {what}  {hold.set_at:%Y-%m-%d %H:%M} by {hold.set_by}: {hold.reason}")
