"""What is removed at a time, as changes for the journal: each chooses its rows and removes them in one transaction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run, RunNote, RunQuerySet
from gateway_project.runs.retention.belongings import Belongings, Place, all_belongings, next_places
from gateway_project.runs.retention.holds import clear_lifted_holds, held_among, keep_holds_out
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.seals.batch import EntryKind
from gateway_project.runs.seals.canonical import NOTE, RUN
from gateway_project.runs.seals.removal import EraseFields, PurgeRuns
from gateway_project.runs.seals.rows import chunks

_BEGINNING = Place(datetime.min.replace(tzinfo=UTC), uuid.UUID(int=0))

ERASED_KIND = "erased"
"""What a lifted hold says of the kind of a principal that was erased."""


class Page(NamedTuple):
    """What was done."""

    rows: int
    """How many runs were removed, or made a skeleton, or lost their content; or rows that belong to none."""
    last: Place | None
    """Where to go on; None when there is no more."""


def purgeable(before: datetime, connection: BaseDatabaseWrapper) -> RunQuerySet:
    """The runs whose time is over: they arrived before, and have ended. Held ones are among them."""
    return Run.objects.using(connection.alias).ended().filter(received_at__lt=before)


def of_principal(kind: str, id_: str, connection: BaseDatabaseWrapper) -> RunQuerySet:
    """All runs of a principal."""
    return Run.objects.using(connection.alias).filter(principal_kind=kind, principal_id=id_)


def _places(runs: RunQuerySet, after: Place | None, size: int) -> list[Place]:
    return next_places(runs.not_held(), "received_at", "id", after, size)


def _last(places: Sequence[Place], size: int) -> Place | None:
    return places[-1] if len(places) == size else None


@dataclass(frozen=True, slots=True)
class PurgePage:
    """Delete the oldest runs that arrived before a moment, from a place on. Open and held ones stay."""

    before: datetime
    after: Place | None
    size: int

    def apply(self, connection: BaseDatabaseWrapper) -> Page:
        """Delete them with all that belongs to them."""
        places = _places(purgeable(self.before, connection), self.after, self.size)
        return Page(PurgeRuns([place.id for place in places]).apply(connection), _last(places, self.size))


@dataclass(frozen=True, slots=True)
class ErasePage:
    """Erase what is personal of a principal's oldest runs, from a place on. Open and held ones stay as they are."""

    kind: str
    id: str
    after: Place | None
    size: int

    def apply(self, connection: BaseDatabaseWrapper) -> Page:
        """Leave skeletons."""
        places = _places(of_principal(self.kind, self.id, connection).ended(), self.after, self.size)
        return Page(EraseRuns([place.id for place in places]).apply(connection), _last(places, self.size))


@dataclass(frozen=True, slots=True)
class EraseRuns:
    """Erase what is personal of these runs, and what was said in them. The result tells of how many runs."""

    run_ids: Sequence[uuid.UUID]

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Erase it for good, and let the seals tell of it."""
        keep_holds_out(connection, alone=True)
        runs = Run.objects.using(connection.alias).filter(pk__in=self.run_ids).ended()
        found = list(runs.select_for_update().values_list("pk", flat=True))
        ids = sorted(set(found) - held_among(found, connection))
        clear_lifted_holds(ids, connection)
        for chunk in chunks(ids):
            for belongings in all_belongings():  # First: they may need what is about to go.
                belongings.erase(chunk, connection)
            notes = list(RunNote.objects.using(connection.alias).filter(run__in=chunk).values_list("pk", flat=True))
            EraseFields(EntryKind.NOTE, notes, tuple(NOTE.groups)).apply(connection)
            EraseFields(EntryKind.RUN, chunk, tuple(RUN.groups)).apply(connection)
        return len(ids)


@dataclass(frozen=True, slots=True)
class ContentPage:
    """Remove the oldest content of one kind, from a place on. That of open and held runs stays."""

    belongings: Belongings
    before: datetime
    after: Place | None
    size: int

    def apply(self, connection: BaseDatabaseWrapper) -> Page:
        """Remove it; the runs keep what else there is of them."""
        keep_holds_out(connection)
        places = self.belongings.content_before(self.before, self.after, self.size, connection)
        ids = [place.id for place in places]
        runs = Run.objects.using(connection.alias).filter(pk__in=ids)
        kept = held_among(ids, connection).union(runs.open().values_list("pk", flat=True))
        gone = [id_ for id_ in ids if id_ not in kept]
        self.belongings.expire(gone, connection)
        return Page(len(gone), _last(places, self.size))


@dataclass(frozen=True, slots=True)
class LoosePage:
    """Remove the oldest rows of one kind that belong to no run."""

    belongings: Belongings
    before: datetime
    size: int

    def apply(self, connection: BaseDatabaseWrapper) -> Page:
        """Remove them. What is gone is not met again, so each page begins at the beginning."""
        done = self.belongings.remove_loose(self.before, self.size, connection)
        return Page(done, _BEGINNING if done == self.size else None)


@dataclass(frozen=True, slots=True)
class ForgetPrincipal:
    """Remove what names a principal and belongs to none of its runs: the last step of its erasure."""

    kind: str
    id: str
    labels: Sequence[str]

    def apply(self, connection: BaseDatabaseWrapper) -> None:
        """Of a hold that was lifted stays that there was one, by whom and when."""
        holds = LegalHold.objects.using(connection.alias).filter(principal_kind=self.kind, principal_id=self.id)
        holds.exclude(lifted_at__isnull=True).update(
            principal_kind=ERASED_KIND, principal_id="", reason="", lift_reason=""
        )
        for belongings in all_belongings():
            belongings.forget(self.kind, self.id, self.labels, connection)
