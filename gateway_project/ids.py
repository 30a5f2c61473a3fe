"""The one id maker. A run's id is a UUIDv7; the wire's ids carry its 32 hex digits."""

import secrets
import uuid

from gateway_project import clock

RUN_ID_PREFIXES = ("chatcmpl-", "resp_")


def uuid7() -> uuid.UUID:
    """A UUIDv7: sorts by time, random in the other 74 bits (RFC 9562, section 5.7)."""
    value = (clock.unix_ms() & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= secrets.randbits(12) << 64
    value |= 0b10 << 62
    value |= secrets.randbits(62)
    return uuid.UUID(int=value)


def new_run_id() -> uuid.UUID:
    """The id of a run."""
    return uuid7()


def chat_completion_id(run_id: uuid.UUID) -> str:
    """The id a Chat Completions client sees, e.g. ``chatcmpl-0192…``."""
    return f"chatcmpl-{run_id.hex}"


def response_id(run_id: uuid.UUID) -> str:
    """The id a Responses client sees, e.g. ``resp_0192…``."""
    return f"resp_{run_id.hex}"


def new_item_id(prefix: str) -> str:
    """A random id for a part of an answer: ``msg_…``, ``fc_…``, ``rs_…``, ``call_…``."""
    return f"{prefix}_{secrets.token_hex(16)}"


def parse_run_id(text: str) -> uuid.UUID | None:
    """Read a run's id in any of its spellings, or return None when it is none of them."""
    text = text.strip()
    for prefix in RUN_ID_PREFIXES:
        text = text.removeprefix(prefix)
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
