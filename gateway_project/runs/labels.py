"""What a client calls its runs, so that they can be found by it: its user, its session's key, its metadata.

They bind nothing. The record of them is `Run.parameters`; the table of labels is an index of that and no more: it is
written with the run's row, and can be made anew from it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from gateway_project.runs.models import RunLabel
from gateway_project.runs.record import RunRecord
from gateway_project.runs.retention.belongings import Belongings
from gateway_project.runs.seals.rows import chunks
from gateway_project.runs.sql import adapted, names, storable, text_limits
from gateway_project.runs.statement import Statement

NAMES = ("user", "safety_identifier", "prompt_cache_key")
"""Fields of both endpoints' requests. `metadata` is the fourth; each of its keys is a label of its own."""

_METADATA = "metadata."
_MOST_COLONS = 10
_COLUMNS = ("run_id", "name", "value")
_INSERT = Statement(
    f"INSERT INTO {RunLabel._meta.db_table} ({names(_COLUMNS)}) "  # noqa: S608 (names are ours)
    "VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
)


def labels_of(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of each label in a run's parameters, as they are stored; ``metadata.<key>`` is such a name."""
    for name in NAMES:
        yield from _label(name, parameters.get(name))
    metadata = parameters.get("metadata")
    if isinstance(metadata, Mapping):
        for key, value in metadata.items():
            yield from _label(f"{_METADATA}{key}", value)


def add_labels(records: Iterable[RunRecord], connection: BaseDatabaseWrapper) -> None:
    """Write runs' labels, in the caller's transaction. Those that are there stay."""
    rows = [
        (adapted(record.id, connection), name, value)
        for record in records
        if record.parameters
        for name, value in labels_of(record.parameters)
    ]
    if rows:
        _INSERT.run_many(rows, connection)


def labelled(term: str) -> Q | None:
    """The runs with the label that `term` spells, ``user:alice`` or ``metadata.order:4711``; None when it spells none.

    A key of the metadata may have colons too: then any of them may be the one that ends it.
    """
    is_metadata = term.startswith(_METADATA)
    if not is_metadata and term.partition(":")[0] not in NAMES:
        return None
    ends = [at for at, character in enumerate(term) if character == ":"][: _MOST_COLONS if is_metadata else 1]
    spelled = [label for at in ends for label in _label(term[:at], term[at + 1 :])]
    if not spelled:
        return None
    found = reduce(or_, (Q(name=name, value=value) for name, value in spelled))
    return Q(pk__in=RunLabel.objects.filter(found).values("run"))


def _label(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value:
        limits = text_limits(RunLabel)
        yield storable(name)[: limits["name"]], storable(value)[: limits["value"]]


class Labels(Belongings):
    """They name the client's own users, and what they are an index of goes too."""

    name = "labels"

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete them."""
        for chunk in chunks(run_ids):
            found = RunLabel.objects.using(connection.alias).filter(run__in=chunk)
            found._raw_delete(connection.alias)  # With a key of two columns Django would fetch them first.
