"""A text that comes in pieces."""

_FOLDED = 256
"""Pieces that become one. Few enough to take little memory, many enough for their joining to cost nothing."""


class GrowingText:
    """Holds what its pieces say, not an object of 50 bytes and more for each of them.

    ``io.StringIO`` does so, too, but not before Python 3.12.
    """

    __slots__ = ("_folds", "_pieces")

    def __init__(self) -> None:
        self._folds: list[str] = []
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """More of it."""
        self._pieces.append(piece)
        if len(self._pieces) == _FOLDED:
            self._folds.append("".join(self._pieces))
            self._pieces.clear()

    def __str__(self) -> str:
        return "".join((*self._folds, *self._pieces))
