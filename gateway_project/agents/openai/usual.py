"""The chunk that an upstream sends again and again, of which only the text changes. No I/O."""

from gateway_project.agents.events import TextDelta
from gateway_project.octets import BACKSLASH, QUOTE

_MOST_LESSONS = 8
"""An upstream whose chunks all differ, as OpenAI's padded ones do, is not studied for ever."""


class UsualChunk:
    """Knows a chunk of text again, byte for byte but for the text itself, and so spares decoding it.

    What was learned is dropped when a choice finishes, since it is read differently from then on.
    """

    def __init__(self) -> None:
        self.choice = 0
        """To which the text belongs."""
        self._before = b""
        self._after = b""
        self._lessons = 0

    @property
    def is_known(self) -> bool:
        """Whether there is one."""
        return bool(self._before)

    def text_of(self, data: bytes) -> str | None:
        """The text of a chunk like the one that was learned; None for any other, and for text that is escaped."""
        before, after = self._before, self._after
        if not (before and data.startswith(before) and data.endswith(after)):
            return None
        return _plain(data[len(before) : -len(after)])

    def texts_at_start(self, read: bytes) -> tuple[list[str], bytes]:
        """The texts of the events with which `read` begins, if all are like the one that was learned; and the rest.

        As long as nothing else comes between, what stands between two texts is the same bytes each time.
        """
        opening, closing = b"data: " + self._before, self._after + b"\n\n"
        if not self._before or not read.startswith(opening):
            return [], read
        end = read.rfind(closing)
        pieces = read[len(opening) : end].split(closing + opening) if end >= len(opening) else []
        texts = _all_plain(pieces)
        return (texts, read[end + len(closing) :]) if texts else ([], read)

    def learn(self, data: bytes, event: TextDelta) -> None:
        """`data` is a chunk that says nothing but `event`."""
        if self._lessons >= _MOST_LESSONS or BACKSLASH in data or event.logprobs is not None:
            return
        self._lessons += 1
        text = event.text.encode()
        before, found, after = data.partition(b'"' + text + b'"')
        # Spelled once, without an escape anywhere, and under its name: no other place can be meant.
        if found and found not in after and before.rstrip().endswith(b'"content":') and _plain(text) is not None:
            self._before, self._after, self.choice = before + b'"', b'"' + after, event.choice

    def forget(self) -> None:
        """Chunks may be read differently from here on."""
        self._before = b""


def _all_plain(pieces: list[bytes]) -> list[str]:
    """The texts, if each of them is plain; else none."""
    return [piece.decode() for piece in pieces] if all(pieces) and _plain(b" ".join(pieces)) else []


def _plain(data: bytes) -> str | None:
    """What stands for itself in a JSON string (RFC 8259, section 7), and has something to say."""
    if QUOTE in data or BACKSLASH in data:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None
