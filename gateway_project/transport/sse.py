"""Server-sent events: one event in one piece, with ``\\n`` line ends and one ``data:`` line.

Real clients split on ``\\n`` and forget half-read events, so neither CRLF nor an event in two writes will do.
"""

import json
from typing import Any

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
HEADERS = (
    (b"content-type", CONTENT_TYPE),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
"""`x-accel-buffering` keeps nginx from holding a stream back; `no-transform` keeps proxies from compressing it."""

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": heartbeat\n\n"


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8.

    Surrogates that an agent cut apart are joined again; lone ones, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def data_event(value: Any) -> bytes:
    """An event with data only, as Chat Completions streams them."""
    return b"data: " + dumps(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """An event with a name and data, as Responses streams them."""
    return b"event: " + name.encode() + b"\ndata: " + dumps(value) + b"\n\n"
