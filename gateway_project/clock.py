"""The one clock: wall time for records, monotonic time for durations and deadlines."""

import time
from datetime import UTC, date, datetime
from datetime import time as time_of_day


def now() -> datetime:
    """The current time, aware, in UTC, with microseconds."""
    return datetime.now(UTC)


def unix_ms() -> int:
    """Milliseconds since the Unix epoch, as a UUIDv7 wants them (RFC 9562, section 5.7)."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds on a clock that never goes back. Only differences mean anything."""
    return time.monotonic()


def parse_moment(text: str, *, end_of_day: bool) -> datetime:
    """Read what a person writes: a date or time in ISO 8601; without an offset it is UTC.

    Args:
        end_of_day: whether a date alone means its last moment instead of its first.

    Raises:
        ValueError: saying what is wrong, to be shown.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date or time in ISO 8601.") from None
    if end_of_day and _is_date_alone(text):
        moment = datetime.combine(moment, time_of_day.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_date_alone(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
