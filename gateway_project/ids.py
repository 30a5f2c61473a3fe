"""The one id maker. A run's id is a UUIDv7; the wire's ids carry its 32 hex digits."""

import os
import re
import secrets
import threading
import uuid

from gateway_project import clock

_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM_BITS = ((1 << 128) - 1) ^ (0xF << 76 | 0b11 << 62)
RUN_ID_PREFIXES = ("chatcmpl-", "resp_")
_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})[0-9a-f]{4,8}")


class _Randomness:
    """Random bytes of the system's, fetched for many at a time. A process that forks fetches its own."""

    def __init__(self) -> None:
        self._bytes = b""
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self.__init__)  # type: ignore[misc]  # a lock may be held, too

    def take(self, number: int) -> bytes:
        """So many that were never given before."""
        with self._lock:
            if len(self._bytes) < number:
                self._bytes = os.urandom(max(number, 2048))
            taken, self._bytes = self._bytes[:number], self._bytes[number:]
        return taken


random_bytes = _Randomness().take
"""Random bytes, as many as asked for."""


def uuid7() -> uuid.UUID:
    """A UUIDv7: sorts by time, random in the other 74 bits (RFC 9562, section 5.7)."""
    value = (clock.unix_ms() & ((1 << 48) - 1)) << 80 | int.from_bytes(random_bytes(10))
    return uuid.UUID(int=value & _RANDOM_BITS | _VERSION_AND_VARIANT)


def new_run_id() -> uuid.UUID:
    """The id of a run."""
    return uuid7()


def chat_completion_id(run_id: uuid.UUID) -> str:
    """The id a Chat Completions client sees, e.g. ``chatcmpl-0192…``."""
    return f"chatcmpl-{run_id.hex}"


def response_id(run_id: uuid.UUID) -> str:
    """The id a Responses client sees, e.g. ``resp_0192…``."""
    return f"resp_{run_id.hex}"


def new_call_id() -> str:
    """A random id for a tool call whose agent gave none."""
    return f"call_{secrets.token_hex(16)}"


def item_id(prefix: str, run_id: uuid.UUID, number: int) -> str:
    """The id of a run's item: ``msg_…``, ``fc_…``, ``rs_…``. It tells its run, so that a reference finds it."""
    return f"{prefix}_{run_id.hex}{number:04x}"


def run_of_item(text: str) -> uuid.UUID | None:
    """The run whose item has this id, or None when it is none of ours."""
    match = _ITEM_ID.fullmatch(text)
    return uuid.UUID(match[1]) if match else None


def parse_run_id(text: str) -> uuid.UUID | None:
    """Read a run's id in any of its spellings, or return None when it is none of them."""
    text = text.strip()
    for prefix in RUN_ID_PREFIXES:
        text = text.removeprefix(prefix)
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
