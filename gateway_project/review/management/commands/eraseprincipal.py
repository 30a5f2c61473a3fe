"""``manage.py eraseprincipal KIND ID``: forget who asked, and what was said; keep that something ran."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.access.lookup import FRESH_SECONDS
from gateway_project.review.erasure import API_KEY, Erasure, with_label
from gateway_project.runs.retention.belongings import Place
from gateway_project.runs.retention.pages import ErasePage, ForgetPrincipal
from gateway_project.runs.retention.walk import Write, batch_size, counted, walk, writing


class Command(BaseCommand):
    """A page of runs after the other, each in a transaction of its own; then what names the principal elsewhere."""

    help = (
        "Erase identity, address, parameters, notes and content from all runs of a principal, for good, and keep the "
        "skeletons: what ran, when, how it ended. Requested model and error message stay among that, although they can "
        "quote what the client sent. Seals tell of it, so that verifyruns stays clean. An API key is "
        "revoked first and its row deleted last. Open runs and runs under a legal hold are left and reported, with "
        "exit code 1: run it again. Stopped in the middle, it goes on with the next start."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """KIND ID, or ``--label``; ``--batch``, ``--dry-run``."""
        parser.add_argument("kind", nargs="?", help=f"Of the principal: {API_KEY}, or what your own adapter says.")
        parser.add_argument("id", nargs="?", help="Of the principal, as the run's page shows it under Who asked.")
        parser.add_argument("--label", help="Its name instead, if only one principal has or had it.")
        parser.add_argument("--batch", type=batch_size, default=500, help="How many runs a transaction takes.")
        parser.add_argument("--dry-run", action="store_true", help="Only say what there is.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase, and say what was done and what was left."""
        erasure = _meant(options["kind"], options["id"], options["label"])
        if options["dry_run"]:
            self._tell(erasure)
            return
        if holds := erasure.holds():
            raise CommandError(f"Nothing was erased: {', '.join(map(str, holds))} is on this principal. Lift it first.")
        labels = erasure.labels()
        if erasure.revoke_key():
            self.stdout.write("Revoked the API key.")
            time.sleep(FRESH_SECONDS)  # For so long processes take a key without asking.
        with writing() as write:
            self._erase(write, erasure, options["batch"])
            self._check_complete(erasure)
            write(ForgetPrincipal(erasure.kind, erasure.id, labels))
        if erasure.delete_key():
            self.stdout.write("Deleted the API key.")

    def _tell(self, erasure: Erasure) -> None:
        runs = erasure.runs
        self.stdout.write(f"Would erase {counted(runs.ended().not_held().count(), 'run')}.")
        self.stdout.write(f"Open: {counted(runs.open().count(), 'run')}. Held: {counted(runs.held().count(), 'run')}.")
        if erasure.key is not None:
            self.stdout.write("Would revoke and delete the API key.")

    def _erase(self, write: Write, erasure: Erasure, size: int) -> None:
        def at(after: Place | None) -> ErasePage:
            return ErasePage(erasure.kind, erasure.id, after, size)

        def tell(done: int) -> None:
            self.stdout.write(f"Erased {counted(done, 'run')}.")

        walk(write, at, total=erasure.runs.count(), tell=tell)

    def _check_complete(self, erasure: Erasure) -> None:
        runs = erasure.runs
        still_open, held = runs.open().count(), runs.ended().held().count()
        reasons = []
        if still_open:
            reasons.append(f"{counted(still_open, 'run')} still open")
        if held:
            reasons.append(f"{counted(held, 'run')} under a legal hold")
        if not reasons and (left := runs.count()):
            reasons.append(f"{counted(left, 'run')} that ended just now")
        if reasons:
            raise CommandError(f"Not complete: left {' and '.join(reasons)}. Run it again later.")


def _meant(kind: str | None, id_: str | None, label: str | None) -> Erasure:
    if (kind is None or id_ is None) == (label is None) or (label is not None and kind is not None):
        raise CommandError("Say KIND and ID, or --label.")
    if kind is not None and id_ is not None:
        if not kind or not id_:
            raise CommandError("Neither KIND nor ID may be empty.")
        return Erasure(kind, id_)
    assert label is not None
    found = with_label(label)
    if not found:
        raise CommandError(f"Nobody is or was known as {label!r}.")
    if len(found) > 1:
        named = ", ".join(f"{one.kind} {one.id}" for one in found)
        raise CommandError(f"Several are or were known as {label!r}: {named}. Say which by KIND and ID.")
    return found[0]
