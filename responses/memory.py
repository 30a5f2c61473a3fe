"""The latest response of a connection, kept in its memory when it is stored nowhere (Open Responses, "WebSocket")."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Remembered:
    """A response to be continued on its own connection.

    Attributes:
        id: ``resp_…``
        items: the conversation to its end: what came before, its input, its output.
        size: characters of their JSON.
    """

    id: str
    items: Sequence[dict[str, Any]]
    size: int


def remember(id_: str, items: Sequence[dict[str, Any]], *, after: Remembered | None, at_most: int) -> Remembered | None:
    """The conversation that ends with `id_`; None when it is longer than `at_most` characters.

    Args:
        items: those that `after`, where it goes on from there, has not.
    """
    size = len(json.dumps(items)) + (after.size if after else 0)
    return Remembered(id_, [*(after.items if after else ()), *items], size) if size <= at_most else None
