"""Who asks, as the rest of the house sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `kind`, `id` and `label` go into the record as they were at the time. `agents` names what it may use;
    None means all. `content` says how much is kept of what it asks (`ContentMode`); empty: as its agent says.
    """

    kind: str
    id: str
    label: str
    agents: frozenset[str] | None = None
    content: str = ""
