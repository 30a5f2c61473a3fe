"""The request's body: bounded, and JSON."""

import math
import re
from typing import Any

from pydantic_core import from_json

from gateway_project.transport.errors import APIError, BodyTooLarge, InvalidValue, UnsupportedMediaType


class InvalidJSON(APIError):
    """The body cannot be read as JSON (RFC 8259)."""

    code = "invalid_json"


class Body:
    """Collects the fragments of a body.

    Args:
        limit: bytes that it may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fragments: list[bytes] = []
        self._size = 0

    def check_headers(self, content_type: str | None, content_encoding: str | None, length: str | None) -> None:
        """Refuse what need not be read at all.

        Raises:
            UnsupportedMediaType: when it is not JSON, or compressed.
            BodyTooLarge: by what the client itself says.
        """
        media_type = (content_type or "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(
                f"Content-Type must be application/json, not {media_type!r}."
                if media_type
                else "The header 'Content-Type: application/json' is missing."
            )
        if content_encoding and content_encoding.strip().lower() != "identity":
            raise UnsupportedMediaType(f"Content-Encoding {content_encoding!r} is not supported. Send plain JSON.")
        if length is not None and length.isdigit() and int(length) > self._limit:
            raise BodyTooLarge(self._limit)

    def feed(self, fragment: bytes) -> None:
        """Take one more fragment.

        Raises:
            BodyTooLarge: when it is one too many.
        """
        self._size += len(fragment)
        if self._size > self._limit:
            self._fragments.clear()
            raise BodyTooLarge(self._limit)
        self._fragments.append(fragment)

    def json(self) -> dict[str, Any]:
        """The whole body as a JSON object.

        Raises:
            InvalidJSON: when it is no JSON; NaN and Infinity are none.
            InvalidValue: when it is JSON, but no object.
        """
        raw = b"".join(self._fragments)
        self._fragments.clear()
        try:
            payload = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise InvalidJSON(f"The request body is not valid JSON: {error}.") from None
        if not isinstance(payload, dict):
            raise InvalidValue("The request body must be a JSON object.")
        if _TOO_LARGE.search(raw) and not _is_finite(payload):
            raise InvalidJSON("The request body holds a number that is too large.")
        return payload


_TOO_LARGE = re.compile(rb"[0-9][eE]\+?[0-9]{2}|[0-9]{300}")
"""How a number that is infinite in floating point must be spelled."""


def _is_finite(value: Any) -> bool:
    """Whether no number in `value` is infinite, as ``1e999`` is."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, float) and math.isinf(item):
            return False
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return True
