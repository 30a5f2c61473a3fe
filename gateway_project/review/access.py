"""Who looked: every look at the records leaves a row, whichever way it came by.

A look at content or an export leaves one each time, and content is not shown without it. Of lists and runs, which keep
themselves fresh, one for a person and a page in `AGAIN_AFTER` is enough; a page that cannot leave its row is shown all
the same, and the log says so.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.review.command_line import os_user
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from gateway_project.runs.labels import labels_of
from gateway_project.runs.models import Run, RunQuerySet
from gateway_project.runs.retention.belongings import Belongings
from gateway_project.runs.seals.rows import chunks
from gateway_project.transport.host import client_address

logger = logging.getLogger("gateway.access")

AGAIN_AFTER = timedelta(minutes=10)
ERASED = "(erased)"

_EACH_TIME = frozenset({Accessed.CONTENT, Accessed.EXPORT})
_NO_FILTER = frozenset({"cursor", "limit", "p", "format"})
"""Parameters of an address that say which part of a list is shown, or in which form, and not of what."""
_MOST_ASKED = 1000
_NAMING = ("q", "principal", "key", "client_address", "client_request_id")
"""Parameters of a filter that can name whoever asked. ``q`` is what is searched for, ``key`` the id of an API key."""

Named = AbstractSet[tuple[str, str]]
"""A parameter and its whole value, as a filter has them that names somebody."""


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who looks."""

    via: AccessVia
    kind: str
    id: str
    name: str
    address: str = ""

    @classmethod
    def of(cls, request: HttpRequest, via: AccessVia) -> "Onlooker":
        """Whoever sends the request: a user, or in the API the `Operator` that a key stands for."""
        user: Any = request.user
        key = getattr(user, "key", None)
        kind, id_ = ("user", user.pk) if key is None else ("api_key", key.pk)
        scope = getattr(request, "scope", None)  # Not under WSGI.
        address = client_address(scope) if scope else request.META.get("REMOTE_ADDR")
        return cls(via, kind, str(id_), user.get_username(), address or "")


class NotRecorded(Exception):
    """The look could not be recorded."""


def record_look(onlooker: Onlooker, what: Accessed, *, run_id: uuid.UUID | None = None, asked: str = "") -> None:
    """Leave a row, in the database that the journal writes to, beside any transaction of the caller's that may fail.

    Raises:
        NotRecorded: when that is not possible.
    """
    alias = gateway_settings().DATABASE
    record = AccessRecord(
        at=clock.now(),
        what=what,
        via=onlooker.via,
        who_kind=onlooker.kind,
        who_id=onlooker.id,
        who=onlooker.name[:150],
        run=run_id,
        asked=asked.replace("\x00", "\ufffd")[:_MOST_ASKED],
        address=onlooker.address[:64],
    )
    try:
        with transaction.atomic(using=alias):
            if what in _EACH_TIME or not _is_known(record, alias):
                record.save(using=alias, force_insert=True)
    except DatabaseError as error:
        logger.error("access.not_recorded", extra={"what": what, "via": onlooker.via, "error": type(error).__name__})
        raise NotRecorded from error


def note_look(onlooker: Onlooker, what: Accessed, *, run_id: uuid.UUID | None = None, asked: str = "") -> None:
    """The same of what is shown even when no row can be left."""
    try:
        record_look(onlooker, what, run_id=run_id, asked=asked)
    except NotRecorded:
        return  # The log says so.


def filter_of(request: HttpRequest) -> str:
    """The filter of a list or an export, as it stands in the address."""
    asked = request.GET.copy()
    for name in _NO_FILTER:
        asked.pop(name, None)
    return asked.urlencode()


def _is_known(record: AccessRecord, alias: str) -> bool:
    """Whether the same look was recorded a moment ago."""
    same = AccessRecord.objects.using(alias).filter(
        who_kind=record.who_kind, who_id=record.who_id, what=record.what, at__gt=record.at - AGAIN_AFTER
    )
    return same.filter(run=record.run, asked=record.asked, via=record.via).exists()


def _of_no_run(before: datetime, connection: BaseDatabaseWrapper) -> QuerySet[AccessRecord]:
    records = AccessRecord.objects.using(connection.alias).filter(run__isnull=True, at__lt=before)
    return records.exclude(what=Accessed.REMOVAL)


def _leave_word(before: datetime, removed: int, alias: str) -> None:
    """One row for a walk, whose pages follow each other: each adds what it removed."""
    now, remover = clock.now(), os_user()[:150]
    records = AccessRecord.objects.using(alias).filter(what=Accessed.REMOVAL, who_kind="os_user", who=remover)
    asked = urlencode({"before": before.isoformat()})
    word = records.filter(asked__startswith=f"{asked}&", at__gt=now - AGAIN_AFTER).first()
    if word is None:
        word = AccessRecord(what=Accessed.REMOVAL, via=AccessVia.COMMAND, who_kind="os_user", who=remover)
    else:
        removed += int(QueryDict(word.asked)["removed"])
    word.at, word.asked = now, f"{asked}&{urlencode({'removed': removed})}"
    word.save(using=alias)


def _named_by(kind: str, id_: str, labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    """How a filter names a principal."""
    for label in labels:
        yield from (("principal", label), ("q", label.strip()))
    if kind == "api_key":
        yield "key", id_


def _named_in(runs: RunQuerySet) -> Iterator[tuple[str, str]]:
    """How a filter names whoever asked for these runs."""
    columns = ("principal_kind", "principal_id", "principal_label", "client_address", "client_request_id", "parameters")
    for kind, id_, label, address, request_id, parameters in runs.order_by().values_list(*columns):
        yield from _named_by(kind, id_, [label])
        yield from (("client_address", address), ("client_request_id", request_id), ("q", request_id.strip()))
        yield from (("q", f"{name}:{value}".strip()) for name, value in labels_of(parameters))


def _take_out(named: Named, connection: BaseDatabaseWrapper) -> None:
    """Erase these values from the filters that others looked by. The rest of each filter stays."""
    named = {(name, value) for name, value in named if value}
    if not named:
        return
    records = AccessRecord.objects.using(connection.alias)
    may_name = reduce(or_, (Q(asked__contains=f"{name}=") for name in _NAMING))
    found: defaultdict[str, list[int]] = defaultdict(list)
    for pk, asked in records.filter(may_name).order_by().values_list("pk", "asked").iterator():
        if (left := _without(named, asked)) != asked:
            found[left].append(pk)
    for left, pks in found.items():
        for chunk in chunks(pks):
            records.filter(pk__in=chunk).update(asked=left)


def _without(named: Named, asked: str) -> str:
    """A filter without these values."""
    given = parse_qsl(asked, keep_blank_values=True)
    left = [(name, ERASED if (name, _spelled(name, value)) in named else value) for name, value in given]
    last = asked.rpartition("&")[2]
    if len(asked) == _MOST_ASKED and "=" in last and any(urlencode([one]).startswith(last) for one in named):
        left[-1] = (left[-1][0], ERASED)  # It was cut in the middle of a value.
    return asked if left == given else urlencode(left)[:_MOST_ASKED]


def _spelled(name: str, value: str) -> str:
    return value.strip() if name == "q" else value  # as the search takes it


class AccessRecords(Belongings):
    """Who looked at a run goes with it. Looks at lists and exports have an age of their own; that they went stays."""

    name = "access records"
    loose = "looks"

    def purge(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Delete them."""
        for chunk in chunks(run_ids):
            AccessRecord.objects.using(connection.alias).filter(run__in=chunk).delete()

    def erase(self, run_ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> None:
        """Who looked at an erased run is not who was erased; but others may have filtered by what it was known by."""
        for chunk in chunks(run_ids):
            runs = Run.objects.using(connection.alias).filter(pk__in=chunk)
            _take_out(set(_named_in(runs)), connection)

    def count_loose_before(self, before: datetime, connection: BaseDatabaseWrapper) -> int:
        """Looks at lists and exports."""
        return _of_no_run(before, connection).count()

    def remove_loose(self, before: datetime, size: int, connection: BaseDatabaseWrapper) -> int:
        """Delete the oldest, and leave word of it, in the same transaction: an auditor sees that, and how many."""
        oldest = _of_no_run(before, connection).order_by("at", "id").values_list("pk", flat=True)[:size]
        records = AccessRecord.objects.using(connection.alias)
        removed = sum(records.filter(pk__in=chunk).delete()[0] for chunk in chunks(oldest))
        if removed:
            _leave_word(before, removed, connection.alias)
        return removed

    def forget(self, kind: str, id_: str, labels: Sequence[str], connection: BaseDatabaseWrapper) -> None:
        """It may have looked itself, and others may have filtered by its name, also before it had a run."""
        records = AccessRecord.objects.using(connection.alias)
        records.filter(who_kind=kind, who_id=id_).update(who=ERASED, who_id="", address="")
        _take_out(set(_named_by(kind, id_, labels)), connection)
