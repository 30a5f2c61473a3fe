"""One run against its seal, for whoever looks at it. Whether the seal itself holds, only the whole walk tells."""

import uuid
from enum import Enum
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.seals.batch import LAYOUTS, Entry, EntryKind, unpack
from gateway_project.runs.seals.canonical import UNREADABLE, stored_bytes
from gateway_project.runs.seals.models import Seal
from gateway_project.runs.seals.rows import rows_by_id, seals_named


class RunState(Enum):
    """What a row's own seal says of it."""

    OPEN = "sealed when it ends"
    AS_SEALED = "as sealed"
    CHANGED = "not what was sealed"
    UNKNOWN = "no seal knows it"


class Checked(NamedTuple):
    """The state of a row, and the seal that holds its digest."""

    state: RunState
    seal: Seal | None


def check_run(run_id: uuid.UUID, *, is_open: bool, connection: BaseDatabaseWrapper) -> Checked:
    """Read the run as it is stored now, and compare."""
    return Checked(RunState.OPEN, None) if is_open else check_row(EntryKind.RUN, run_id, connection)


def check_row(kind: EntryKind, id_: uuid.UUID, connection: BaseDatabaseWrapper) -> Checked:
    """Read a row that should be sealed as it is stored now, and compare."""
    layout = LAYOUTS[kind]
    rows = rows_by_id(layout, [id_], connection)
    named = seals_named(layout, [id_], connection).get(id_)
    seal = Seal.objects.using(connection.alias).filter(pk=named).first() if named else None
    entries = unpack(stored_bytes(seal.entries)) if seal is not None else ()
    sealed = {entry for entry in entries if (entry.kind, entry.object_id) == (kind, id_)}
    if not sealed or id_ not in rows:
        return Checked(RunState.UNKNOWN, None)
    row = rows[id_]
    try:
        as_sealed = Entry(kind, id_, layout.digest(row)) in sealed and not layout.leftovers(row)
    except UNREADABLE:
        as_sealed = False
    return Checked(RunState.AS_SEALED if as_sealed else RunState.CHANGED, seal)
