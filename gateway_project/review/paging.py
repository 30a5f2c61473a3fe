"""Runs page by page, each page in bounded time, whatever is asked and however many runs there are.

No page counts the table or skips over rows: it begins where the last one ended. A condition that an index has in
order is followed along that index. What no index has is looked for among the next `WINDOW` runs: such a page may hold
few runs or none, and still have a next one.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from django.db.models import Count, Max, Min, Q, QuerySet

from gateway_project.review.questions import arrived, conditions, search
from gateway_project.runs.models import Run

WINDOW = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = re.compile(r"(\d{1,17})-([0-9a-f]{32})", re.ASCII)
_FIRST_ID, _LAST_ID = uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two runs in the order of their arrival."""

    received_at: datetime
    run_id: uuid.UUID

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Read what `str()` wrote.

        Raises:
            ValueError: when it is nothing of that kind.
        """
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("That is no cursor of this API.")
        return cls(_EPOCH + int(match[1]) * _MICROSECOND, uuid.UUID(match[2]))

    def __str__(self) -> str:
        return f"{(self.received_at - _EPOCH) // _MICROSECOND}-{self.run_id.hex}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, and where to go on; None when there are no more."""

    runs: Sequence[Run]
    next: Position | None


class Selection:
    """The runs that match, to be read page by page. Blocking.

    Args:
        runs: those that may be seen.
        asked: values by the names in `QUESTIONS`.
        term: what to search for, or nothing.
        since, until: the first and last time of arrival.
    """

    def __init__(
        self,
        runs: "QuerySet[Run]",
        asked: Mapping[str, str],
        *,
        term: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        # Only one condition can lead. Who may see what does so if it is one: a few runs among many would otherwise
        # take many windows to find.
        lead, rest = conditions(asked, may_lead=not term and not runs.query.where)
        if term:
            lead &= search(runs, term)
        self._runs = runs.filter(lead, arrived(since=since, until=until)).defer("parameters")
        self._rest = rest

    def page(self, after: Position | None = None, *, size: int, newest_first: bool) -> Page:
        """The next `size` runs after that position, or those among the next `WINDOW` of them."""
        order = ("-received_at", "-id") if newest_first else ("received_at", "id")
        runs = self._runs.order_by(*order)
        if after is not None:
            runs = runs.filter(_beyond(after, newest_first=newest_first))
        edge = None
        if self._rest:
            last = Min("received_at") if newest_first else Max("received_at")
            window = runs.values("received_at", "id")[:WINDOW].aggregate(last=last, length=Count("id"))
            if window["length"] == WINDOW:
                edge = window["last"]
                within = Q(received_at__gte=edge) if newest_first else Q(received_at__lte=edge)
                runs = runs.filter(within)
            runs = runs.filter(self._rest)
        found = list(runs[: size + 1])
        if len(found) > size:
            last_shown = found[size - 1]
            return Page(found[:size], Position(last_shown.received_at, last_shown.pk))
        return Page(found, edge and Position(edge, _FIRST_ID if newest_first else _LAST_ID))

    def batches(self, *, size: int) -> Iterator[Sequence[Run]]:
        """All of them, the oldest first, in batches. No transaction stays open as long as the reader reads."""
        page = self.page(size=size, newest_first=False)
        yield page.runs
        while page.next is not None:
            page = self.page(page.next, size=size, newest_first=False)
            yield page.runs


def _beyond(position: Position, *, newest_first: bool) -> Q:
    at, run_id = position.received_at, position.run_id
    # The first condition says no more than the second, but it is one that an index can begin at.
    if newest_first:
        return Q(received_at__lte=at) & (Q(received_at__lt=at) | Q(received_at=at, pk__lt=run_id))
    return Q(received_at__gte=at) & (Q(received_at__gt=at) | Q(received_at=at, pk__gt=run_id))
