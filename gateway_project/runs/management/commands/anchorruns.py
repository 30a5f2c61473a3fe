"""``manage.py anchorruns``: bring the ends of the chains to where whoever owns the database cannot reach them."""

import smtplib
from argparse import ArgumentParser
from typing import Any

from django.core.mail import send_mail
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.posting import NotPosted, post
from gateway_project.runs.seals import anchor
from gateway_project.runs.seals.chain import unnamed_heads
from gateway_project.webhook_settings import is_web_address

_SECONDS = 30.0


class Command(BaseCommand):
    """Print, mail, post."""

    help = (
        "Print where the chains of seals end now, and mail or post it as well. A few lines vouch for all that was "
        "sealed before. Check one kept earlier with verifyruns --anchor FILE. Exit code 1 when it did not arrive."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--mail``, ``--post``."""
        parser.add_argument(
            "--mail", action="append", default=[], metavar="ADDRESS", help="By Django's email settings; several times."
        )
        parser.add_argument(
            "--post", action="append", default=[], metavar="URL", help="As text/plain; any 2xx is good; several times."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print, then try each; what failed is said at the end."""
        for url in options["post"]:
            if not is_web_address(url):
                raise CommandError(f"--post: {url!r} is no http or https address.")
        heads = unnamed_heads(connections[gateway_settings().DATABASE])
        text = "".join(f"{line}\n" for line in anchor.write(heads, at=clock.now()))
        self.stdout.write(text, ending="")
        failures = [
            *self._mail(text, options["mail"]),
            *(failure for url in options["post"] for failure in _post(url, text)),
        ]
        if failures:
            raise CommandError("Not anchored everywhere. " + " ".join(failures), returncode=1)

    def _mail(self, text: str, addresses: list[str]) -> list[str]:
        if not addresses:
            return []
        try:
            send_mail("Anchor of the agent gateway's records", text, None, addresses)
        except (OSError, smtplib.SMTPException) as error:
            return [f"The mail was not sent: {error}."]
        return []


def _post(url: str, text: str) -> list[str]:
    try:
        status = post(url, text.encode(), {"Content-Type": "text/plain; charset=utf-8"}, seconds=_SECONDS)
    except NotPosted as error:
        return [f"{url}: {error}."]
    return [] if 200 <= status < 300 else [f"{url}: answered with {status}."]
