"""``manage.py purgeruns``: delete runs whose time is over, content sooner, and what belongs to no run."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.runs.retention.belongings import Belongings, Place, all_belongings
from gateway_project.runs.retention.pages import ContentPage, LoosePage, PurgePage, purgeable
from gateway_project.runs.retention.walk import Write, batch_size, counted, walk, writing


def age(text: str) -> datetime:
    """An argument such as ``90d``."""
    try:
        return clock.parse_age(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


class Command(BaseCommand):
    """A page after the other, each in a transaction of its own."""

    help = (
        "Delete the runs that arrived long enough ago, with all that belongs to them, and remove the content of others "
        "sooner. Seals tell of it, so that verifyruns stays clean. Open runs and those under a legal hold stay. Safe "
        "beside serving processes; stopped in the middle, it goes on with the next start."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The ages, of what apps have registered too; ``--batch``, ``--dry-run``."""
        when = "An age such as 90d, 12h, 30m or 4w, or a date or time in ISO 8601."
        parser.add_argument("--older-than", type=age, metavar="AGE", help=f"Runs that arrived before. {when}")
        parser.add_argument("--content-older-than", type=age, metavar="AGE", help="The same for content alone.")
        for kind in _loose():
            parser.add_argument(
                f"--{kind.loose}-older-than",
                type=age,
                metavar="AGE",
                dest=kind.loose,
                help=f"The same for {kind.name} that belong to no run.",
            )
        parser.add_argument("--batch", type=batch_size, default=500, help="How many runs or rows a transaction takes.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Purge, then expire; say what was done, and what was left."""
        before, content_before = options["older_than"], options["content_older_than"]
        loose = [(kind, options[kind.loose]) for kind in _loose() if options[kind.loose] is not None]
        if before is None and content_before is None and not loose:
            known = ["--older-than", "--content-older-than", *(f"--{kind.loose}-older-than" for kind in _loose())]
            raise CommandError(f"Say at least one age: {', '.join(known)}.")
        connection = connections[gateway_settings().DATABASE]
        if options["dry_run"]:
            self._tell(before, content_before, connection)
            for kind, loose_before in loose:
                number = kind.count_loose_before(loose_before, connection)
                self.stdout.write(f"{kind.name.capitalize()} of no run: {number:,} are older.")
            return
        with writing() as write:
            if before is not None:
                self._purge(write, before, options["batch"], connection)
            if content_before is not None:
                self._expire(write, content_before, options["batch"], connection)
            for kind, loose_before in loose:
                self._remove_loose(write, kind, loose_before, options["batch"], connection)

    def _tell(self, before: datetime | None, content_before: datetime | None, connection: BaseDatabaseWrapper) -> None:
        if before is not None:
            runs = purgeable(before, connection)
            self.stdout.write(f"Would purge {counted(runs.not_held().count(), 'run')}.")
            self._say_held(before, connection)
        if content_before is not None:
            for kind in _content():
                number = kind.count_content_before(content_before, connection)
                self.stdout.write(f"{kind.name.capitalize()} of {counted(number, 'run')} are older.")

    def _purge(self, write: Write, before: datetime, size: int, connection: BaseDatabaseWrapper) -> None:
        def page(after: Place | None) -> PurgePage:
            return PurgePage(before, after, size)

        def tell(done: int) -> None:
            self.stdout.write(f"Purged {counted(done, 'run')}.")

        walk(write, page, total=purgeable(before, connection).count(), tell=tell)
        self._say_held(before, connection)

    def _expire(self, write: Write, before: datetime, size: int, connection: BaseDatabaseWrapper) -> None:
        for kind in _content():

            def page(after: Place | None, kind: Belongings = kind) -> ContentPage:
                return ContentPage(kind, before, after, size)

            def tell(done: int, kind: Belongings = kind) -> None:
                self.stdout.write(f"Removed the {kind.name} of {counted(done, 'run')}.")

            walk(write, page, total=kind.count_content_before(before, connection), tell=tell)
            if left := kind.count_content_before(before, connection):
                self.stdout.write(f"Left those of {counted(left, 'run')}: held, or still open.")

    def _remove_loose(
        self, write: Write, kind: Belongings, before: datetime, size: int, connection: BaseDatabaseWrapper
    ) -> None:
        def page(after: Place | None) -> LoosePage:
            return LoosePage(kind, before, size)

        def tell(done: int) -> None:
            self.stdout.write(f"{kind.name.capitalize()} of no run: removed {done:,}.")

        walk(write, page, total=kind.count_loose_before(before, connection), tell=tell)

    def _say_held(self, before: datetime, connection: BaseDatabaseWrapper) -> None:
        if held := purgeable(before, connection).held().count():
            self.stdout.write(f"Left {counted(held, 'run')} under a legal hold.")


def _loose() -> list[Belongings]:
    return [belongings for belongings in all_belongings() if belongings.loose]


def _content() -> Iterator[Belongings]:
    return (belongings for belongings in all_belongings() if belongings.is_content)
