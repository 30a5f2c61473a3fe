"""The one clock: wall time for records, monotonic time for durations and deadlines."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

SMALLEST = timedelta(microseconds=1)
"""Between one moment and the next, as records tell them apart."""

_AGE = re.compile(r"(\d{1,7})([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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
        if end_of_day and _is_date_alone(text):
            moment = datetime.combine(moment, time_of_day.max)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter: before the first year, or after the last
        raise ValueError(f"{text!r} is no date or time in ISO 8601.") from None


def parse_age(text: str) -> datetime:
    """The moment before which something is older than a person says: ``90d``, ``12h``, or a date or time as above.

    Raises:
        ValueError: saying what is wrong, to be shown; also when the moment lies ahead.
    """
    if match := _AGE.fullmatch(text):
        try:
            return now() - timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError:
            raise ValueError(f"{text!r} is longer ago than there are dates.") from None
    try:
        moment = parse_moment(text, end_of_day=False)
    except ValueError:
        raise ValueError(f"{text!r} is no age such as 90d, 12h, 30m or 4w, and no date in ISO 8601.") from None
    if moment > now():
        raise ValueError(f"{text!r} lies ahead.")
    return moment


def _is_date_alone(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
