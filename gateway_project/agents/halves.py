"""Characters that were cut in two: JavaScript counts in UTF-16, and a piece of text may end amid a surrogate pair."""

from collections.abc import Hashable

_LOST = "\ufffd"


def joined(text: str) -> str:
    """`text` with its pairs of surrogates joined; lone ones, which UTF-8 cannot hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Halves:
    """Joins the pieces of several texts, so that each piece is text that UTF-8 can hold.

    A half at the end of a piece waits for the next piece of the same text; what stays alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, str] = {}

    def __bool__(self) -> bool:
        """Whether one waits."""
        return bool(self._waiting)

    def join(self, which: Hashable, piece: str) -> str:
        """A piece of the text `which`, with what waited for it and without what must wait."""
        if piece.isascii() and not self._waiting:
            return piece
        text = self._waiting.pop(which, "") + piece
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._waiting[which] = text[-1]
            text = text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return joined(text)
        return text

    def rest(self, which: Hashable) -> str:
        """What is left of a text that has ended."""
        return _LOST if self._waiting.pop(which, "") else ""
