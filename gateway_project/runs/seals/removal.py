"""What may be taken from the record when its time is over, so that the seals still hold and tell of it.

Both are changes for the journal: its writer's chain seals them with the commit that does them.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.retention.belongings import all_belongings
from gateway_project.runs.retention.holds import clear_lifted_holds, held_among, keep_holds_out
from gateway_project.runs.seals.batch import LAYOUTS, Batch, Entry, EntryKind, current_batch
from gateway_project.runs.seals.canonical import Layout, Row
from gateway_project.runs.seals.models import Tombstone
from gateway_project.runs.seals.rows import chunks, entries_of, rows_by_id
from gateway_project.runs.seals.triggers import maintenance
from gateway_project.runs.sql import adapted, assignments
from gateway_project.runs.vocabulary import OPEN_STATUSES


def erasure_digest(digest: bytes, group: str) -> bytes:
    """What a seal says when a group of personal fields of the row with this digest was erased."""
    return hashlib.sha256(digest + group.encode()).digest()


@dataclass(frozen=True, slots=True)
class PurgeRuns:
    """Delete these runs, their notes and all that belongs to them. The result tells how many runs went.

    Open ones stay, and those that a legal hold is on.
    """

    run_ids: Sequence[uuid.UUID]

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Delete them, and let the seal say so. What no seal knows goes without a word: it left no trace before."""
        keep_holds_out(connection, alone=True)
        runs = Run.objects.using(connection.alias).filter(pk__in=self.run_ids).ended()
        locked = list(runs.select_for_update().values_list("pk", flat=True))
        ended = sorted(set(locked) - held_among(locked, connection))
        clear_lifted_holds(ended, connection)
        notes = list(RunNote.objects.using(connection.alias).filter(run__in=ended).values_list("pk", flat=True))
        for belongings in all_belongings():
            belongings.purge(ended, connection)
        purge_rows(EntryKind.NOTE, notes, connection)
        return purge_rows(EntryKind.RUN, ended, connection)


@dataclass(frozen=True, slots=True)
class EraseFields:
    """Erase groups of personal fields of rows for good, and keep the rest. The result tells of how many rows.

    Args:
        kind: `EntryKind.RUN` (groups ``identity``, ``asker``) or `EntryKind.NOTE` (``said``).
        ids: the rows; open runs stay as they are. Legal holds are the caller's business (`retention.pages.EraseRuns`).
    """

    kind: EntryKind
    ids: Sequence[uuid.UUID]
    groups: Sequence[str]

    def apply(self, connection: BaseDatabaseWrapper) -> int:
        """Erase them, and let the seal say so. What no seal knows goes without a word; what is erased is left."""
        layout = LAYOUTS[self.kind]
        assert set(self.groups) <= set(layout.groups), f"{layout.name} has no such group"
        rows = rows_by_id(layout, self.ids, connection)
        sealed = _sealed(self.kind, rows, connection)
        erased = 0
        with maintenance(connection):
            for id_, row in rows.items():
                entry = sealed.get(id_)
                if entry is not None:
                    groups = [group for group in self.groups if group not in layout.erased(row)]
                elif self.kind is EntryKind.RUN and row["status"] in OPEN_STATUSES:
                    continue
                else:
                    groups = [group for group in self.groups if layout.values(row, group)]
                if not groups:
                    continue
                _update(layout, id_, layout.erase(row, groups), connection)
                if entry is not None:
                    digests = [erasure_digest(entry.digest, group) for group in groups]
                    _record([Entry(EntryKind.ERASED, id_, digest) for digest in digests], connection)
                erased += 1
        return erased


def purge_rows(kind: EntryKind, ids: Sequence[uuid.UUID], connection: BaseDatabaseWrapper) -> int:
    """Delete these rows and let the seal say so; tells how many. What no seal knows goes without a word."""
    layout = LAYOUTS[kind]
    sealed = _sealed(kind, rows_by_id(layout, ids, connection), connection)
    _record([entry._replace(kind=EntryKind.PURGED) for entry in sealed.values()], connection)
    with maintenance(connection):
        for chunk in chunks(ids):
            # Nothing else hangs on them, and signals are for those who asked for them.
            layout.model._default_manager.using(connection.alias).filter(pk__in=chunk)._raw_delete(connection.alias)
    return len(ids)


def _sealed(kind: EntryKind, rows: dict[uuid.UUID, Row], connection: BaseDatabaseWrapper) -> dict[uuid.UUID, Entry]:
    """The entries of those of the rows that are sealed."""
    seals = {uuid.UUID(str(row["seal"])) for row in rows.values() if row["seal"]}
    return {
        entry.object_id: entry
        for _, entries in entries_of(seals, connection)
        for entry in entries
        if entry.kind is kind and entry.object_id in rows
    }


def _update(layout: Layout, id_: uuid.UUID, changes: dict[str, Any], connection: BaseDatabaseWrapper) -> None:
    sql = f"UPDATE {layout.model._meta.db_table} SET {assignments(tuple(changes))} WHERE id = %s"  # noqa: S608 (names are ours)
    with connection.cursor() as cursor:
        cursor.execute(sql, [adapted(value, connection) for value in (*changes.values(), id_)])


def _record(entries: Sequence[Entry], connection: BaseDatabaseWrapper) -> None:
    """Put entries into the seal that is to be, and leave a tombstone for each, to find it by."""
    batch = _batch()
    batch.entries.extend(entries)
    Tombstone.objects.using(connection.alias).bulk_create(
        [Tombstone(object_id=entry.object_id, kind=entry.kind, seal=batch.id) for entry in entries],
        ignore_conflicts=True,  # one for each object and seal
        batch_size=500,
    )


def _batch() -> Batch:
    batch = current_batch()
    if batch is None:
        raise RuntimeError("only a journal removes what is sealed")
    return batch
