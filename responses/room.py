"""How much of earlier responses one request may bring back: its own body is small, what it names need not be."""

from collections.abc import Iterable
from typing import Any

from gateway_project.conf import gateway_settings
from gateway_project.transport.errors import InvalidValue

_BODIES = 4
"""All of it is in memory at a time, and is sent to the agent."""
_PARTS = 50_000
"""Items, and parts of their content: to check and convert so many takes about half a second."""


class Room:
    """What is left for one request.

    Args:
        param: the field that names what is brought back.
        bodies: as much as so many bodies may hold; four, where nothing is said.
    """

    def __init__(self, param: str, *, bodies: int | None = None) -> None:
        self.characters = (bodies or _BODIES) * gateway_settings().LIMITS.BODY_BYTES
        """Of JSON: how many there is still room for."""
        self._param = param
        self._parts = _PARTS

    def take(self, characters: int, items: Iterable[dict[str, Any]] = ()) -> None:
        """Make room for `items`, and for so many characters of JSON.

        Raises:
            InvalidValue: when there is none.
        """
        self.characters -= characters
        self._parts -= sum(map(_parts, items))
        if self.characters < 0 or self._parts < 0:
            raise InvalidValue("The conversation that this refers to is too long to go on with.", param=self._param)


def _parts(item: dict[str, Any]) -> int:
    return 1 + sum(len(value) for value in (item.get("content"), item.get("output")) if isinstance(value, list))
