"""How content is taken away when its time is over, or when somebody may ask for it: the seals still hold, and say so.

Both are changes for the journal, as those of `seals.removal` are.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.content.models import RunContent
from gateway_project.runs.retention.belongings import Belongings, Place, next_places
from gateway_project.runs.seals.batch import EntryKind
from gateway_project.runs.seals.canonical import CONTENT
from gateway_project.runs.seals.removal import EraseFields, purge_rows
from gateway_project.runs.seals.rows import chunks


@dataclass(frozen=True, slots=True)
class PurgeContent:
    """Delete what was kept of these runs, row and all; the runs stay. The result tells of how many."""

    run_ids: Sequence[uuid.UUID]

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Delete them, and let the seal say so."""
        return sum(purge_rows(EntryKind.CONTENT, ids, connection) for ids in _contents_of(self.run_ids, connection))


@dataclass(frozen=True, slots=True)
class EraseContent:
    """Erase the texts and digests kept of these runs for good. The result tells of how many.

    What stays is the skeleton: that there was content, in which mode, how much, and when.
    """

    run_ids: Sequence[uuid.UUID]

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Erase them, and let the seal say so. What is erased already is left."""
        groups = tuple(CONTENT.groups)
        return sum(
            EraseFields(EntryKind.CONTENT, ids, groups).apply(connection)
            for ids in _contents_of(self.run_ids, connection)
        )


class Contents(Belongings):
    """What is kept of requests and answers goes with its run, and sooner; of an erased run's stays how much it was."""

    name = "contents"
    is_content = True

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete it."""
        PurgeContent(run_ids).apply(connection)

    def erase(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Erase the texts and digests."""
        EraseContent(run_ids).apply(connection)

    def expire(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete it."""
        PurgeContent(run_ids).apply(connection)

    def content_before(
        self, before: datetime, after: Place | None, size: int, connection: BaseDatabaseWrapper
    ) -> Sequence[Place]:
        """In the order in which it was kept."""
        rows = RunContent.objects.using(connection.alias).filter(at__lt=before)
        return next_places(rows, "at", "run", after, size)

    def count_content_before(self, before: datetime, connection: BaseDatabaseWrapper) -> int:
        """As many as there are."""
        return RunContent.objects.using(connection.alias).filter(at__lt=before).count()


def _contents_of(run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> Iterator[list[uuid.UUID]]:
    """The ids of the contents, so many at a time as may be in memory."""
    contents = RunContent.objects.using(connection.alias)
    for runs in chunks(run_ids):
        yield from chunks(contents.filter(run__in=runs).values_list("pk", flat=True), CONTENT.rows_at_a_time)
