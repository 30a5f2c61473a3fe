"""Log lines with the run's id: a filter that adds it, and a formatter of one JSON object a line."""

import asyncio
import logging
from contextvars import Context
from datetime import UTC, datetime
from typing import TextIO

from gateway_project.observe.context import bound_run
from gateway_project.spelling import speller

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RunIdFilter(logging.Filter):
    """Gives every record a `run_id`: its own, or that of the run the current task works for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        if not hasattr(record, "run_id"):
            record.run_id = bound_run()
        return True


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and whatever `extra` holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _spelled(line)


_spelled = speller(default=str)


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes what is logged in one turn of an event loop in one go, at the turn's end; outside of a loop at once.

    Where thousands of runs end together, a system call for each line would be a good part of the work. An error is
    written at once, with all before it.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._turn_of: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            loop = _running_loop() if record.levelno < logging.ERROR else None
            if loop is None:
                self.flush()
            elif loop is not self._turn_of:
                self._turn_of = loop
                loop.call_soon(self.flush, context=Context())
        except Exception:  # noqa: BLE001 (logging's own way: an error of the log must not be one of the program)
            self.handleError(record)

    def flush(self) -> None:
        """Write what was taken."""
        self.acquire()
        try:
            self._turn_of = None
            if self._lines:
                lines, self._lines = self._lines, []
                self.stream.write("".join(lines))
            super().flush()
        finally:
            self.release()


class TurnStream:
    """Stands in for a stream that is written to in an event loop: what one turn writes goes out at its end, as one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._texts: list[str] = []

    def write(self, text: str) -> None:
        """Take some text."""
        if not self._texts:
            asyncio.get_running_loop().call_soon(self.flush, context=Context())
        self._texts.append(text)

    def flush(self) -> None:
        """Write what was taken."""
        texts, self._texts = self._texts, []
        self._stream.write("".join(texts))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
