"""Server-sent events: one event in one piece, with ``\\n`` line ends and one ``data:`` line.

Real clients split on ``\\n`` and forget half-read events, so neither CRLF nor an event in two writes will do.
Some split where Python's ``str.splitlines`` does (httpx's ``iter_lines``, and so the official Python client's): what
else may end a line is escaped.
"""

import json
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import Any

from pydantic_core import to_json

from gateway_project.agents.halves import joined

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
HEADERS = (
    (b"content-type", CONTENT_TYPE),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
"""`x-accel-buffering` keeps nginx from holding a stream back; `no-transform` keeps proxies from compressing it."""

_spelled = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": heartbeat\n\n"


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8.

    Surrogates that an agent cut apart are joined again; lone ones, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    data = _quickly(value)
    if data is not None:
        return data
    text = _spelled(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return joined(text).encode()


def _quickly(value: Any) -> bytes | None:
    """The same by pydantic-core; None for what only Python's own writer knows to say, or to refuse."""
    try:
        data = to_json(value)
    except ValueError:  # such as a lone surrogate
        return None
    # Not by `in`, which takes twice as long (see `octets`).
    return data if data.find(b"NaN") < 0 and data.find(b"Infinity") < 0 else None


def text(value: str) -> bytes:
    """The same for a string alone, as a part of JSON that stands ready."""
    try:
        return _in_one_line(encode_basestring(value).encode())
    except UnicodeEncodeError:
        return _in_one_line(dumps(value))


def texts(values: Iterable[str], *, between: bytes) -> bytes:
    """The same for several, with what stands between them."""
    try:
        return _in_one_line(between.decode().join(map(encode_basestring, values)).encode())
    except UnicodeEncodeError:
        return between.join(map(text, values))


def data_event(value: Any) -> bytes:
    """An event with data only, as Chat Completions streams them."""
    return b"data: " + _in_one_line(dumps(value)) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """An event with a name and data, as Responses streams them."""
    return b"event: " + name.encode() + b"\ndata: " + _in_one_line(dumps(value)) + b"\n\n"


_LINE_ENDS = tuple((end.encode(), rb"\u%04x" % ord(end)) for end in "\x85\u2028\u2029")
"""What ends a line for ``str.splitlines`` and may stand in JSON as it is; all others are control characters."""


def _in_one_line(data: bytes) -> bytes:
    """JSON with these escaped. Their bytes begin amid no other character's, so that they are safe to replace."""
    if not data.isascii():
        for end, escaped in _LINE_ENDS:
            data = data.replace(end, escaped)
    return data
