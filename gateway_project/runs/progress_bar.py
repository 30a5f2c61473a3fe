"""A plain progress bar for commands that walk over everything."""

from typing import TextIO

from gateway_project import clock

_WIDTH = 30
_SECONDS = 0.2


class ProgressBar:
    """Drawn on a terminal, and nowhere else: a log needs none."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = max(total, 1)
        self._shown_at = 0.0
        self._is_on = stream.isatty()

    def show(self, done: int) -> None:
        """Draw it, at most five times a second."""
        if not self._is_on:
            return
        now = clock.monotonic()
        if now - self._shown_at < _SECONDS:
            return
        self._shown_at = now
        part = min(done / self._total, 1.0)
        bar = "#" * int(part * _WIDTH)
        self._stream.write(f"\r[{bar:<{_WIDTH}}] {part:4.0%}  {done:,} of about {self._total:,}")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._is_on and self._shown_at:
            self._stream.write("\n")
            self._stream.flush()
