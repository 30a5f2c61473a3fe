"""Log lines with the run's id: a filter that adds it, and a formatter of one JSON object a line."""

import json
import logging
from datetime import UTC, datetime

from gateway_project.observe.context import bound_run

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
        return json.dumps(line, default=str)
