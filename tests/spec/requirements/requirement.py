"""What a protocol asks for, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule of a specification.

    Args:
        section: where the specification says it: a field, a schema, an event, a path, a heading.
        rule: what it asks for, in one sentence; for what is not supported, what happens instead.
        not_supported: why it is not kept to here; empty when it is.
    """

    section: str
    rule: str
    not_supported: str = ""
