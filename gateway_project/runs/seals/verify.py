"""Verification: every seal against the one before it, every row against its seal, every row for having one.

It only reads, a page at a time, beside running writers: what it compares it reads in an order in which whatever is
committed meanwhile raises no alarm. Where it stands is plain data, so that a walk that was stopped can go on.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.runs.models import Run, RunContent, RunNote
from gateway_project.runs.seals.batch import LAYOUTS, Entry, EntryKind, unpack
from gateway_project.runs.seals.breaks import BreakKind, Findings
from gateway_project.runs.seals.canonical import HASH_BYTES, UNREADABLE, Layout, Row, stored_bytes, stored_id
from gateway_project.runs.seals.chain import Head, seal_hash, unpack_heads
from gateway_project.runs.seals.models import Seal
from gateway_project.runs.seals.removal import erasure_digest
from gateway_project.runs.seals.rows import (
    as_utc,
    claims_of,
    entries_of,
    hash_at,
    head_of,
    next_chain,
    page_of,
    recorded,
    rows_by_id,
    runs_named,
    seals_after,
    seals_named,
)

_SEALS_A_PAGE = 500
_ENTRIES_A_LOOK = 1000
_ROWS_A_PAGE = 500

_ORPHANED: Mapping[EntryKind, BreakKind] = {
    EntryKind.NOTE: BreakKind.ORPHANED,
    EntryKind.CONTENT: BreakKind.CONTENT_ORPHANED,
}
"""What that which belongs to runs is called when its run is gone."""


@dataclass(slots=True)
class Position:
    """Where the walk stands."""

    phase: str = "seals"
    chain: str = ""
    number: int = 0
    hash: str = bytes(HASH_BYTES).hex()
    row: str = ""
    seals: int = 0
    rows: int = 0
    claims: dict[str, int] = field(default_factory=dict)
    """Seals that by their chain's row another chain names, by chain: those of which that was not seen yet."""
    findings: Findings = field(default_factory=Findings)

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {"findings": self.findings.as_json()}

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> "Position":
        """From the checkpoint."""
        return cls(**kept | {"findings": Findings.of_json(kept["findings"])})


class _Sealed(NamedTuple):
    """An entry, the seal that holds it, and how many seals the walk had seen with it."""

    at: int
    seal: Seal
    entry: Entry


class Verifier:
    """One walk over everything that is sealed.

    Args:
        position: where to begin; a new walk begins a new one.
        anchors: heads that were printed earlier, and must still be there.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, position: Position | None = None, anchors: Sequence[Head] = ()
    ) -> None:
        self._connection = connection
        self.position = position or Position()
        self.findings = self.position.findings
        self._anchors = anchors

    def walk(self) -> Iterator[None]:
        """Go on to the end, a page at a step. After each step `position` can be kept."""
        self._check_heads(self._anchors, "an anchor")  # Whoever goes on with a walk may bring others than at first.
        if self.position.phase == "seals":
            if not self.position.chain:
                self.position.claims = claims_of(self._connection)
            yield from self._walk_chains()
            self._check_claims()
            self.findings.settle()
            self._enter("runs")
        if self.position.phase == "runs":
            yield from self._walk_rows(EntryKind.RUN)
            self._enter("notes")
        if self.position.phase == "notes":
            yield from self._walk_rows(EntryKind.NOTE)
            self._enter("contents")
        yield from self._walk_rows(EntryKind.CONTENT)

    def _enter(self, phase: str) -> None:
        self.position.phase, self.position.row = phase, ""

    # -- the chains -----------------------------------------------------------------------------------

    def _walk_chains(self) -> Iterator[None]:
        position = self.position
        if position.chain:
            yield from self._walk_chain(uuid.UUID(position.chain))
        while (chain := next_chain(stored_id(position.chain), self._connection)) is not None:
            position.chain, position.number, position.hash = chain.hex, 0, bytes(HASH_BYTES).hex()
            yield from self._walk_chain(chain)

    def _walk_chain(self, chain: uuid.UUID) -> Iterator[None]:
        while True:
            # First the row, then the seals: the chain may grow in between, and never shrinks.
            head = head_of(chain, self._connection)
            seals = seals_after(chain, self.position.number, _SEALS_A_PAGE, self._connection)
            if not seals:
                self._check_end(chain, head)
                return
            entries: list[_Sealed] = []
            for seal in seals:
                self._check_seal(seal)
                entries.extend(
                    _Sealed(self.position.seals, seal, entry) for entry in unpack(stored_bytes(seal.entries))
                )
                if len(entries) >= _ENTRIES_A_LOOK:
                    self._check_entries(entries)
                    entries.clear()
            self._check_entries(entries)
            yield

    def _check_seal(self, seal: Seal) -> None:
        position, place = self.position, f"seal {seal.number} of chain {seal.chain}"
        previous, hash_ = stored_bytes(seal.previous), stored_bytes(seal.hash)
        if seal.number != position.number + 1:
            missing = f"{position.number + 1} to {seal.number - 1}"
            self._found(BreakKind.SEAL_REMOVED, f"of chain {seal.chain} the seals {missing} are missing")
        elif previous.hex() != position.hash:
            self._found(BreakKind.LINK_BROKEN, f"{place} does not follow the one before it")
        if _computed(seal) != hash_:
            self._found(BreakKind.SEAL_CHANGED, f"{place} is not what its hash says")
        heads = [*unpack_heads(stored_bytes(seal.heads))]
        self._check_heads(heads, place)
        for head in heads:
            if head.number >= position.claims.get(head.chain.hex, head.number + 1):
                del position.claims[head.chain.hex]
        position.number, position.hash = seal.number, hash_.hex()
        position.seals += 1

    def _check_end(self, chain: uuid.UUID, head: Head | None) -> None:
        """The chain's own row must tell of its last seal. An empty chain has lost all of them."""
        number, hash_ = self.position.number, self.position.hash
        if head is None:
            self._found_chain(BreakKind.CHAIN_CHANGED, chain, f"the row of chain {chain} is missing")
        elif not number:
            self._found_chain(BreakKind.CHAIN_REMOVED, chain, f"chain {chain} had {head.number} seals and has none")
        elif head.number > number:
            text = f"chain {chain} had {head.number} seals and ends with {number}"
            self._found_chain(BreakKind.TAIL_TRUNCATED, chain, text)
        elif (head.number, head.hash.hex()) != (number, hash_):
            self._found_chain(BreakKind.CHAIN_CHANGED, chain, f"the row of chain {chain} tells of another last seal")

    def _check_heads(self, heads: Iterable[Head], named_by: str) -> None:
        """What others, or an anchor, saw of a chain must still be there."""
        for chain, number, hash_ in heads:
            there = hash_at(chain, number, self._connection)
            if there == hash_:
                continue
            seals = Seal.objects.using(self._connection.alias).filter(chain=chain)
            if there is not None:
                text = f"seal {number} of chain {chain} is another than {named_by} names"
                self._found_chain(BreakKind.CHAIN_REWRITTEN, chain, text)
            elif not seals.exists():
                text = f"chain {chain}, which {named_by} names, has no seals"
                self._found_chain(BreakKind.CHAIN_REMOVED, chain, text)
            elif not seals.filter(number__gt=number).exists():
                text = f"chain {chain} ends before seal {number}, which {named_by} names"
                self._found_chain(BreakKind.TAIL_TRUNCATED, chain, text)
            # Else it is missing in the middle, which the walk of its own chain finds.

    def _check_claims(self) -> None:
        """A chain whose end others are said to name is in no anchor: it must be true."""
        for chain, number in self.position.claims.items():
            text = f"the row of chain {chain} says that another chain names its seal {number}, and none does"
            self._found_chain(BreakKind.CHAIN_CHANGED, uuid.UUID(chain), text)
        self.position.claims.clear()

    # -- the rows that seals know ---------------------------------------------------------------------

    def _check_entries(self, entries: Sequence[_Sealed]) -> None:
        for kind, layout in LAYOUTS.items():
            those = [each for each in entries if each.entry.kind is kind]
            # No more of them in memory than are read at a time.
            for start in range(0, len(those), layout.rows_at_a_time):
                self._check_rows(layout, those[start : start + layout.rows_at_a_time])

    def _check_rows(self, layout: Layout, those: Sequence[_Sealed]) -> None:
        rows = rows_by_id(layout, [each.entry.object_id for each in those], self._connection)
        # Read after the rows: what is purged or erased is so by the same commit as its record.
        missing = [each.entry.object_id for each in those if each.entry.object_id not in rows]
        purged = recorded(EntryKind.PURGED, missing, self._connection)
        half = [id_ for id_, row in rows.items() if layout.erased(row)]
        erased = recorded(EntryKind.ERASED, half, self._connection)
        for each in those:
            row = rows.get(each.entry.object_id)
            if row is not None:
                self._check_row(layout, row, each, erased)
            elif each.entry._replace(kind=EntryKind.PURGED) not in purged:
                place = f"of seal {each.seal.number} of chain {each.seal.chain}"
                text = f"{layout.name} {each.entry.object_id}, {place}"
                self.findings.add(BreakKind.DELETED, text, at=each.at)

    def _check_row(self, layout: Layout, row: Row, each: _Sealed, erased: set[Entry]) -> None:
        at, seal, entry = each
        found, sealed_in = _read(layout, row)
        if found != entry.digest or sealed_in != seal.pk or layout.leftovers(row):
            other = found if found != entry.digest else None
            self.findings.add_mismatch(layout.name, str(entry.object_id), entry.digest, other, at=at)
            return
        for group in layout.erased(row):
            record = Entry(EntryKind.ERASED, entry.object_id, erasure_digest(entry.digest, group))
            if record not in erased:
                self.findings.add(BreakKind.ERASED, f"{layout.name} {entry.object_id} ({group})", at=at)

    # -- the rows that no seal knows ------------------------------------------------------------------

    def _walk_rows(self, kind: EntryKind) -> Iterator[None]:
        layout = LAYOUTS[kind]
        while True:
            page = page_of(layout, stored_id(self.position.row), _ROWS_A_PAGE, self._connection)
            for stored in page.no_ids:
                self._found(BreakKind.UNKNOWN, f"{layout.name} {stored!r}")
            if not page.seal_of:
                return
            self._check_known(kind, page.seal_of)
            if kind is not EntryKind.RUN:
                self._check_runs_of(kind, page.seal_of)
            self.position.row = max(page.seal_of).hex
            self.position.rows += len(page.seal_of)
            yield

    def _check_runs_of(self, kind: EntryKind, rows: Iterable[uuid.UUID]) -> None:
        """A run that was deleted while it was open left no digest, but what was noted of it."""
        layout, found = LAYOUTS[kind], _ORPHANED[kind]
        run_of = runs_named(layout, rows, self._connection)
        runs = {run for run in run_of.values() if run is not None}
        missing = runs - set(Run.objects.using(self._connection.alias).filter(pk__in=runs).values_list("pk", flat=True))
        missing -= {entry.object_id for entry in recorded(EntryKind.PURGED, missing, self._connection)}
        for id_, run in run_of.items():
            if run in missing:
                self._found(found, f"{layout.name} {id_} of run {run}")

    def _check_known(self, kind: EntryKind, seal_of: dict[uuid.UUID, uuid.UUID | None]) -> None:
        unknown = self._unsealed(kind, seal_of)
        if unknown:
            # Asked again: open is no break, and what has been closed since its page was read is sealed by now.
            again = self._to_be_sealed(kind, unknown)
            unknown = self._unsealed(kind, seals_named(LAYOUTS[kind], again, self._connection))
        for id_ in sorted(unknown):
            self._found(BreakKind.UNKNOWN, f"{LAYOUTS[kind].name} {id_}")

    def _unsealed(self, kind: EntryKind, seal_of: dict[uuid.UUID, uuid.UUID | None]) -> set[uuid.UUID]:
        """Those that the seal which they name does not hold."""
        unsealed = set(seal_of)
        for seal, entries in entries_of({seal for seal in seal_of.values() if seal}, self._connection):
            unsealed.difference_update(
                entry.object_id for entry in entries if entry.kind is kind and seal_of.get(entry.object_id) == seal
            )
        return unsealed

    def _to_be_sealed(self, kind: EntryKind, ids: set[uuid.UUID]) -> list[uuid.UUID]:
        """Runs that have ended, all contents, and all notes but the loose ones of open runs."""
        runs = Run.objects.using(self._connection.alias)
        if kind is EntryKind.RUN:
            return list(runs.filter(pk__in=ids).ended().values_list("pk", flat=True))
        if kind is EntryKind.CONTENT:
            contents = RunContent._default_manager.using(self._connection.alias)
            return list(contents.filter(pk__in=ids).values_list("pk", flat=True))
        notes = RunNote.objects.using(self._connection.alias).filter(pk__in=ids)
        return list(notes.exclude(seal__isnull=True, run__in=runs.open()).values_list("pk", flat=True))

    def _found(self, kind: BreakKind, text: str) -> None:
        self.findings.add(kind, text, at=self.position.seals + self.position.rows)

    def _found_chain(self, kind: BreakKind, chain: uuid.UUID, text: str) -> None:
        self.findings.add_chain(kind, chain.hex, text, at=self.position.seals)


def _computed(seal: Seal) -> bytes | None:
    """The hash that a seal should have; None when its parts are nothing that a seal can hold."""
    try:
        return seal_hash(
            version=seal.version,
            chain=seal.chain,
            number=seal.number,
            previous=bytes(seal.previous),
            sealed_at=as_utc(seal.sealed_at),
            entries=bytes(seal.entries),
            heads=bytes(seal.heads),
        )
    except UNREADABLE:
        return None


def _read(layout: Layout, row: Row) -> tuple[bytes | None, uuid.UUID | None]:
    """A row's digest and seal; neither of a row that no application of ours can have written."""
    try:
        return layout.digest(row), stored_id(row["seal"])
    except UNREADABLE:
        return None, None
