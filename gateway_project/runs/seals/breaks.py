"""What verification can find, and how it is kept while the walk goes on."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class BreakKind(Enum):
    """What was done to the records, as far as the seals tell."""

    CHANGED = "changed row"
    SWAPPED = "swapped rows"
    DELETED = "deleted row"
    UNKNOWN = "row that no seal knows"
    ERASED = "erased without a record"
    ORPHANED = "note without its run"
    CONTENT_ORPHANED = "content without its run"
    SEAL_CHANGED = "changed seal"
    SEAL_REMOVED = "removed seal"
    LINK_BROKEN = "broken link"
    TAIL_TRUNCATED = "truncated tail"
    CHAIN_REMOVED = "removed chain"
    CHAIN_REWRITTEN = "rewritten chain"
    CHAIN_CHANGED = "changed row of a chain"


_MOST_MISMATCHES = 200
_MOST_CHAINS = 1000


@dataclass(slots=True)
class Findings:
    """The breaks so far. Bounded, whatever is found, and kept in the checkpoint."""

    counts: Counter[str] = field(default_factory=Counter)
    first: str = ""
    _first_at: int = 0
    _mismatches: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    """When, what, which, the digest in the seal and the one found: of rows that may be swapped."""
    _chains: list[str] = field(default_factory=list)

    def add(self, kind: BreakKind, text: str, *, at: int) -> None:
        """Count a break; of all the one at the lowest `at` is the first."""
        self.counts[kind.value] += 1
        if not self.first or at < self._first_at:
            self.first, self._first_at = f"{kind.value}: {text}", at

    def add_chain(self, kind: BreakKind, chain: str, text: str, *, at: int) -> None:
        """Count a break of a chain once, although several seals tell of it."""
        key = f"{kind.value} {chain}"
        if key not in self._chains:
            self.add(kind, text, at=at)
            if len(self._chains) < _MOST_CHAINS:
                self._chains.append(key)

    def add_mismatch(self, what: str, which: str, sealed: bytes, found: bytes | None, *, at: int) -> None:
        """A row whose digest is not the sealed one: changed, unless another turns up that holds what this one had."""
        mismatch = (at, what, which, sealed.hex(), found.hex() if found else "")
        for other in self._mismatches:
            if found and (other[3], other[4]) == (mismatch[4], mismatch[3]):
                self._mismatches.remove(other)
                text = f"{what} {other[2]} and {what} {which} hold each other's content"
                self.add(BreakKind.SWAPPED, text, at=other[0])
                return
        if len(self._mismatches) < _MOST_MISMATCHES:
            self._mismatches.append(mismatch)
        else:
            self._add_changed(mismatch)

    def settle(self) -> None:
        """All rows are seen: what has no counterpart was changed."""
        for mismatch in self._mismatches:
            self._add_changed(mismatch)
        self._mismatches.clear()

    def _add_changed(self, mismatch: tuple[int, str, str, str, str]) -> None:
        at, what, which, _, _ = mismatch
        self.add(BreakKind.CHANGED, f"{what} {which} is not what was sealed", at=at)

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "counts": dict(self.counts),
            "first": self.first,
            "first_at": self._first_at,
            "mismatches": self._mismatches,
            "chains": self._chains,
        }

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> "Findings":
        """From the checkpoint."""
        mismatches = [tuple(mismatch) for mismatch in kept["mismatches"]]
        return cls(Counter(kept["counts"]), kept["first"], kept["first_at"], mismatches, kept["chains"])
