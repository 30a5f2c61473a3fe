"""An HTTP/1.1 answer from bytes, read by httptools (llhttp). No I/O.

A whole client library costs more for an answer than all else that is done with it, most of it for what is not needed
here: one kind of request, no redirects, no cookies, no proxies, no compression.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

_UNREAD_BYTES = 64 * 1024
"""Of a head, a trailer or a line in front of a chunk: what may come without any of the body."""


class WireError(Exception):
    """What came is no answer that can be understood."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers, the names in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Answer:
    """One answer. What `feed` finds of its body is in `pieces`, to be taken from there.

    Raises of `feed` and `end`:
        WireError: and nothing that comes afterwards means anything.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self.pieces: list[bytes] = []
        self.done = False
        """Whether all of it has come."""
        self.can_follow = False
        """Whether another answer can come on the same connection."""
        self._headers: dict[str, str] = {}
        self._unread = 0
        self._parser: HttpResponseParser | None = None
        """Between the first byte and the end: it and this know each other."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take what was read, which is not nothing."""
        if self.done:
            self.can_follow = False  # What was not asked for.
            return
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.can_follow = False
            if not self.done:  # Else it is what came behind the answer that makes no sense.
                raise _wire_error(error) from None
        if self._unread > _UNREAD_BYTES:
            raise WireError("an endless line")

    def end(self) -> None:
        """The connection was closed."""
        self.can_follow = False
        self._parser = None
        if not self.done and (self.head is None or not self.head.headers.keys().isdisjoint(_LENGTHS)):
            raise WireError("cut off")
        self.done = True

    # -- what the parser tells ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins: the one that is waited for, or one that nobody asked for."""
        self.can_follow = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Fields of one name are joined, as lists are (RFC 9110, section 5.3). Those of a trailer say nothing here."""
        if self.head is None:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is there, or one of those that go before (RFC 9110, section 15.2)."""
        if self.head is not None:
            return
        assert self._parser is not None
        headers, self._headers = self._headers, {}
        status = self._parser.get_status_code()
        if status < 200:
            return
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise WireError("compressed, although nobody asked for it")
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise WireError("an unknown transfer coding")
        self.head = Head(status, headers)

    def on_body(self, piece: bytes) -> None:
        """A part of the body, or of what nobody asked for."""
        if not self.done:
            self._unread = 0
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """The answer is whole, if it was the one that is waited for."""
        if self.head is not None and not self.done:
            assert self._parser is not None
            self.done = True
            self.can_follow = self._parser.should_keep_alive()
            self._parser = None
            self._unread = 0


_LENGTHS = frozenset({"content-length", "transfer-encoding"})
"""Without them a body ends with its connection (RFC 9112, section 6.3)."""


def _wire_error(error: Exception) -> WireError:
    if isinstance(error, HttpParserCallbackError) and isinstance(error.__context__, WireError):
        return error.__context__
    return WireError(str(error) or "an upgrade that nobody asked for")
