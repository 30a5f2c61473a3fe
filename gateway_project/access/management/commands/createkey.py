"""``manage.py createkey NAME``: make an API key; its text is shown once, alone on the last line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.command_text import check_text
from gateway_project.conf import did_you_mean, gateway_settings
from gateway_project.content_modes import ContentMode


class Command(BaseCommand):
    """Make an API key."""

    help = "Make an API key. It is printed alone on the last line, and never shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME, ``--agent`` (again and again), ``--operate``, ``--content``, ``--expires``."""
        parser.add_argument("name", help="Whose key it is, as the auditor shall read it.")
        parser.add_argument("--agent", action="append", default=[], help="An agent it may use; none means all.")
        parser.add_argument("--operate", action="store_true", help="It may also look at and cancel everybody's runs.")
        parser.add_argument(
            "--content",
            choices=ContentMode.values,
            default="",
            help="How much is kept of what it asks and is answered; left out: as its agent or the settings say.",
        )
        parser.add_argument("--expires", help="A date (its end) or time in ISO 8601; without an offset it is UTC.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the key and print it."""
        name = check_text(APIKey, "name", options["name"].strip(), given_as="NAME")
        known = gateway_settings().AGENTS
        for agent in options["agent"]:
            if agent not in known:
                raise CommandError(f"No agent is named {agent!r}. {did_you_mean(agent, known) or ''}".rstrip())
        try:
            expires_at = clock.parse_moment(options["expires"], end_of_day=True) if options["expires"] else None
        except ValueError as error:
            raise CommandError(f"--expires: {error}") from None
        if expires_at is not None and expires_at <= clock.now():
            raise CommandError("--expires lies in the past.")
        key, text = APIKey.objects.create_key(
            name,
            agents=options["agent"],
            expires_at=expires_at,
            operate=options["operate"],
            content=options["content"],
        )
        may = ", ".join(key.agents) or "all agents"
        until = f" until {key.expires_at.isoformat()}" if key.expires_at else ""
        self.stderr.write(f"Made {key} for {may}{until}. The key, shown this once:")
        self.stdout.write(text)
