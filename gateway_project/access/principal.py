"""Who asks, as the rest of the house sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `kind`, `id` and `label` go into the record as they were at the time. `agents` names what it may use;
    None means all.
    """

    kind: str
    id: str
    label: str
    agents: frozenset[str] | None = None
