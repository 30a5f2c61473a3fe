"""Server-sent events from bytes. No I/O."""

from collections.abc import Iterable

from gateway_project.agents.errors import UpstreamError
from gateway_project.octets import CR, LF

MAX_EVENT_BYTES = 1024 * 1024


class SSEParser:
    """Bytes in, the data of events out; all that a read completes, at once.

    Takes LF and CRLF, comments, ``data:`` without a space and data of several lines (HTML, section 9.2.6). A field
    ``error``, which older llama.cpp sends, becomes the data ``{"error": …}``. Other fields say nothing here.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, read: bytes) -> list[bytes]:
        """Take what was read; return the data of the events that it completes.

        Raises:
            UpstreamError: for a line or an event above the limit.
        """
        if LF not in read:
            self._keep(read)
            return []
        if self._tail:
            read = b"".join((*self._tail, read))
            self._tail, self._tail_size = [], 0
        events: list[bytes] = []
        if not self._data and CR not in read:
            read = self._whole_events(read, events)
        *lines, tail = read.split(b"\n")
        self._keep(tail)
        self._lines(lines, events)
        return events

    def _whole_events(self, read: bytes, events: list[bytes]) -> bytes:
        """Take the events that are there as a whole; return the rest. Nearly all are one line of data."""
        *blocks, rest = read.split(b"\n\n")
        for block in blocks:
            if block.startswith(b"data: ") and LF not in block:
                self._check(len(block))
                events.append(block[6:])
            else:
                self._lines((*block.split(b"\n"), b""), events)
        return rest

    def _lines(self, lines: Iterable[bytes], events: list[bytes]) -> None:
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)

    def take_back(self) -> bytes | None:
        """The beginning of an event that was kept until the rest comes; None when some of it was read already."""
        if self._data:
            return None
        kept, self._tail, self._tail_size = b"".join(self._tail), [], 0
        return kept

    def close(self) -> list[bytes]:
        """The stream ended: an event without its blank line counts too."""
        return self.feed(b"\n\n" if self._tail else b"\n")

    def _keep(self, tail: bytes) -> None:
        if tail:
            self._tail.append(tail)
            self._tail_size += len(tail)
            self._check(self._tail_size)

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            if not self._data:
                return None
            event = b"\n".join(self._data)
            self._data, self._data_size = [], 0
            return event
        name, _, value = line.partition(b":")
        if name == b"error":
            value = b'{"error":' + value + b"}"
        elif name != b"data":
            self._check(len(line))
            return None
        self._data.append(value.removeprefix(b" "))
        self._data_size += len(line)
        self._check(self._data_size)
        return None

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise UpstreamError("The upstream sent an event that is too long.")
