"""``manage.py verifyruns``: is the record what was sealed? Exit code 1 when it is not."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Sum

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.models import Chain, Run, RunContent, RunNote, Verification
from gateway_project.runs.progress_bar import ProgressBar
from gateway_project.runs.seals import anchor
from gateway_project.runs.seals.chain import Head, unnamed_heads
from gateway_project.runs.seals.verify import Position, Verifier

_CHECKPOINT_SECONDS = 5.0


class Command(BaseCommand):
    """Walk over all seals and rows, or print where the chains end."""

    help = (
        "Check every seal against the one before it, every closed run and note against its seal, and that each has "
        "one. It only reads, beside running processes, and keeps a checkpoint. Exit code 1 when anything is amiss."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--head``, ``--anchor``, ``--resume``."""
        parser.add_argument(
            "--head",
            action="store_true",
            help="Only print where the chains end now, to be kept elsewhere; anchorruns mails and posts it too.",
        )
        parser.add_argument(
            "--anchor",
            "--since-head",
            dest="anchor",
            action="append",
            default=[],
            metavar="FILE",
            help="Check as well that the ends printed earlier are still there; several times. Only so is a truncated "
            "tail found for sure. What anchorruns printed, mailed or posted, as it is; - for standard input.",
        )
        parser.add_argument("--resume", action="store_true", help="Go on with the last walk that was stopped.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, say what was found, and keep it for the admin."""
        connection = connections[gateway_settings().DATABASE]
        if options["head"]:
            for line in anchor.write(unnamed_heads(connection), at=clock.now()):
                self.stdout.write(line)
            return
        anchors = [head for name in options["anchor"] for head in _read_anchors(name)]
        kept = _begin(connection, resume=options["resume"])
        position = Position.of_json(kept.checkpoint) if kept.checkpoint else Position()
        verifier = Verifier(connection, position, anchors)
        self._walk(verifier, kept, connection)
        self._report(verifier)

    def _walk(self, verifier: Verifier, kept: Verification, connection: BaseDatabaseWrapper) -> None:
        progress = ProgressBar(sys.stderr, _work(connection))
        kept_at = clock.monotonic()
        try:
            for _ in verifier.walk():
                progress.show(verifier.position.seals + verifier.position.rows)
                if clock.monotonic() - kept_at >= _CHECKPOINT_SECONDS:
                    _keep(kept, verifier)
                    kept_at = clock.monotonic()
        except BaseException:
            _keep(kept, verifier)
            raise
        finally:
            progress.close()
        kept.finished_at = clock.now()
        _keep(kept, verifier)

    def _report(self, verifier: Verifier) -> None:
        position, findings = verifier.position, verifier.findings
        walked = f"{position.seals} seals, {position.rows} runs, notes and contents"
        if not findings.counts:
            self.stdout.write(f"Clean: {walked}. Nothing was changed or is missing since it was sealed.")
            return
        self.stdout.write(f"First break: {findings.first}")
        for kind, count in sorted(findings.counts.items()):
            self.stdout.write(f"{count:>9}  {kind}")
        raise CommandError(f"The record is not what was sealed ({walked}).", returncode=1)


def _read_anchors(name: str) -> list[Head]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        return anchor.read(text)
    except (OSError, ValueError) as error:
        raise CommandError(f"--anchor {name}: {error}") from None


def _begin(connection: BaseDatabaseWrapper, *, resume: bool) -> Verification:
    walks = Verification.objects.using(connection.alias)
    if resume:
        stopped = walks.filter(finished_at__isnull=True).first()
        if stopped is None:
            raise CommandError("No walk was stopped.")
        return stopped
    return walks.create(started_at=clock.now(), walked_at=clock.now())


def _keep(kept: Verification, verifier: Verifier) -> None:
    """Write the checkpoint."""
    kept.walked_at = clock.now()
    kept.checkpoint = {} if kept.finished_at else verifier.position.as_json()
    kept.seals, kept.rows = verifier.position.seals, verifier.position.rows
    kept.breaks, kept.first_break = dict(verifier.findings.counts), verifier.findings.first[:500]
    kept.save()


def _work(connection: BaseDatabaseWrapper) -> int:
    """How many seals and rows there are to walk over, about."""
    seals = Chain.objects.using(connection.alias).aggregate(total=Sum("head_number"))["total"] or 0
    rows = sum(model._default_manager.using(connection.alias).count() for model in (Run, RunNote, RunContent))
    return int(seals) + rows
