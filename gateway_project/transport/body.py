"""The request's body: bounded, perhaps compressed, and JSON."""

import codecs
import math
import zlib
from typing import Any

from pydantic_core import from_json

from gateway_project.transport.errors import APIError, BodyTooLarge, InvalidValue, UnsupportedMediaType


class InvalidJSON(APIError):
    """The body cannot be read as JSON (RFC 8259)."""

    code = "invalid_json"


class InvalidEncoding(APIError):
    """The body is not compressed in the way that it claims (RFC 1952)."""

    code = "invalid_content_encoding"


class Body:
    """Collects the fragments of a body.

    Args:
        limit: bytes that it may have, before and after it is inflated.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fragments: list[bytes] = []
        self._size = 0
        self._inflater: _Inflater | None = None

    def check_headers(self, content_type: str | None, content_encoding: str | None, length: str | None) -> None:
        """Refuse what need not be read at all.

        Raises:
            UnsupportedMediaType: when it is not JSON, or compressed in a way that is not read here.
            BodyTooLarge: by what the client itself says.
        """
        media_type = (content_type or "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(
                f"Content-Type must be application/json, not {media_type!r}."
                if media_type
                else "The header 'Content-Type: application/json' is missing."
            )
        codings = [coding.strip().lower() for coding in (content_encoding or "").split(",")]
        match [coding for coding in codings if coding not in ("", "identity")]:
            case []:
                pass
            case ["gzip" | "x-gzip"]:
                self._inflater = _Inflater()
            case _:
                raise UnsupportedMediaType(
                    f"Content-Encoding {content_encoding!r} is not supported. Send plain JSON, or gzip it.",
                    headers=((b"accept-encoding", b"gzip"),),
                )
        if length is not None and length.isdecimal() and exceeds(length, self._limit):
            raise BodyTooLarge(self._limit)

    def feed(self, fragment: bytes) -> None:
        """Take one more fragment.

        Raises:
            BodyTooLarge: when it is one too many.
            InvalidEncoding: when it cannot be inflated.
        """
        if self._inflater is not None:
            fragment = self._inflater.inflate(fragment, self._limit - self._size)
        self._size += len(fragment)
        if self._size > self._limit:
            self._fragments.clear()
            raise BodyTooLarge(self._limit)
        self._fragments.append(fragment)

    def json(self) -> dict[str, Any]:
        """The whole body as a JSON object.

        A byte order mark is ignored, and of equal names in an object the last one counts (RFC 8259, sections
        8.1 and 4).

        Raises:
            InvalidEncoding: when its compressed form is not whole.
            InvalidJSON: when it is no JSON; NaN and Infinity are none.
            InvalidValue: when it is JSON, but no object, or one of so many parts that to check them would hold up
                everybody else.
        """
        if self._inflater is not None and not self._inflater.is_whole:
            raise InvalidEncoding("The gzipped request body ends too early.")
        raw = b"".join(self._fragments).removeprefix(codecs.BOM_UTF8)
        self._fragments.clear()
        try:
            payload = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise InvalidJSON(f"The request body is not valid JSON: {error}.") from None
        if not isinstance(payload, dict):
            raise InvalidValue("The request body must be a JSON object.")
        _check_values(payload)
        return payload


def exceeds(length: str, limit: int) -> bool:
    """Whether a Content-Length is above `limit`. Its digits may be more than Python's `int` takes."""
    significant = length.lstrip("0")
    return len(significant) > len(str(limit)) or int(significant or "0") > limit


class _Inflater:
    """Inflates gzip piece by piece, and never more than it is asked for: a small body may hold a huge one."""

    _MEMBERS = 1000
    """A gzip file may have any number of members; each costs work, also one that holds nothing."""

    def __init__(self) -> None:
        self._member = _new_member()
        self._members = 1

    @property
    def is_whole(self) -> bool:
        """Whether the last member came to its end."""
        return bool(self._member.eof)

    def inflate(self, data: bytes, most: int) -> bytes:
        """What `data` holds, or the first ``most + 1`` bytes of it."""
        pieces: list[bytes] = []
        while data and most >= 0:
            if self._member.eof:
                self._begin_member()
            try:
                piece = self._member.decompress(data, most + 1)
            except zlib.error:
                raise InvalidEncoding("The request body is not valid gzip.") from None
            pieces.append(piece)
            most -= len(piece)
            data = self._member.unconsumed_tail or self._member.unused_data
        return b"".join(pieces)

    def _begin_member(self) -> None:
        if self._members == self._MEMBERS:
            raise InvalidEncoding(f"The gzipped request body has more than {self._MEMBERS} members.")
        self._members += 1
        self._member = _new_member()


def _new_member() -> Any:
    """Any: zlib does not name the type."""
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


_PARTS = 50_000
"""How many objects and arrays a body may hold. It takes about half a second to check and convert so many."""


def _check_values(payload: dict[str, Any]) -> None:
    """Look at every value, long texts at no cost.

    Raises:
        InvalidJSON: when a number is infinite in floating point, as ``1e999`` is.
        InvalidValue: when there are more objects and arrays than `_PARTS`.
    """
    parts: list[Any] = [payload]
    for part in parts:  # It grows.
        for value in part.values() if type(part) is dict else part:
            kind = type(value)
            if kind is dict or kind is list:
                parts.append(value)
            elif kind is float and math.isinf(value):
                raise InvalidJSON("The request body holds a number that is too large.")
        if len(parts) > _PARTS:
            raise InvalidValue(f"The request body holds more than {_PARTS} objects and arrays.")
