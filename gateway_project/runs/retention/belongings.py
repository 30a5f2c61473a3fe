"""What belongs to a run and lies in tables of other apps: it goes with the run, and with what is personal of it.

An app registers its own, when it is ready, with `register_belongings`. Everything is called inside the transaction of
the journal that removes the runs, or what is personal of them, or their content: all of it is gone, or nothing is.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet


class Place(NamedTuple):
    """Where a walk through rows by time stands."""

    at: datetime
    id: uuid.UUID


def next_places(rows: "QuerySet[Any]", at: str, id_: str, after: Place | None, size: int) -> list[Place]:
    """The next of `rows`, at most `size`, in the order of time and id.

    Args:
        at, id_: the columns with a row's time, and with the id of its run.
        after: where the walk stands; None at its beginning.
    """
    if after is not None:
        # The first condition says no more than the second, but it is one that an index can begin at.
        beyond = Q(**{f"{at}__gt": after.at}) | Q(**{at: after.at, f"{id_}__gt": after.id})
        rows = rows.filter(Q(**{f"{at}__gte": after.at}) & beyond)
    return [Place(*row) for row in rows.order_by(at, id_).values_list(at, id_)[:size]]


class Belongings:
    """One kind of data of runs. Each method may be called again for runs it was called for: a batch can be repeated.

    Attributes:
        name: how commands call it, in the plural.
        is_content: whether it is what was asked and answered: such data goes by ``--content-older-than``, too, and
            then `content_before` and `count_content_before` must be there.
        loose: what purgeruns calls those of its rows that belong to no run, such as ``looks``: they go by
            ``--looks-older-than``, and then `count_loose_before` and `remove_loose` must be there.
    """

    name: str
    is_content = False
    loose = ""

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """The runs go: remove all that belongs to them."""
        raise NotImplementedError

    def erase(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """The runs stay, as a skeleton: remove what is personal, and what was said. Their rows still have it."""
        self.purge(run_ids, connection)

    def expire(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """The runs stay as they are, but this content of theirs is too old."""
        self.purge(run_ids, connection)

    def content_before(
        self, before: datetime, after: Place | None, size: int, connection: BaseDatabaseWrapper
    ) -> Sequence[Place]:
        """The next runs in the order of time and id whose content is older, at most `size`; each with its time."""
        raise NotImplementedError

    def count_content_before(self, before: datetime, connection: BaseDatabaseWrapper) -> int:
        """How many there are in all."""
        raise NotImplementedError

    def count_loose_before(self, before: datetime, connection: BaseDatabaseWrapper) -> int:
        """How many rows that belong to no run are older."""
        raise NotImplementedError

    def remove_loose(self, before: datetime, size: int, connection: BaseDatabaseWrapper) -> int:
        """Remove the oldest of them, at most `size`; tells how many."""
        raise NotImplementedError

    def forget(self, kind: str, id_: str, labels: Sequence[str], connection: BaseDatabaseWrapper) -> None:
        """A principal was erased: remove what names it and belongs to no run of its own."""


_registered: dict[str, Belongings] = {}


def register_belongings(belongings: Belongings) -> None:
    """Let purges and erasures know of it. A later one of the same name replaces it."""
    _registered[belongings.name] = belongings


def all_belongings() -> tuple[Belongings, ...]:
    """What apps have registered."""
    return tuple(_registered.values())
