"""The one clock: wall time for records, monotonic time for durations and deadlines."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC, with microseconds."""
    return datetime.now(UTC)


def unix_ms() -> int:
    """Milliseconds since the Unix epoch, as a UUIDv7 wants them (RFC 9562, section 5.7)."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds on a clock that never goes back. Only differences mean anything."""
    return time.monotonic()
