"""What an upstream says went wrong → the error that the client is told. No I/O.

The message of the upstream's own JSON error envelope is passed on, bounded and without secrets, where it can help
the client. It may quote what was asked: for the record there is a sentence of ours beside it. What concerns the
operator's account (401, 402, 403, 429) is told in our own words.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gateway_project.agents.errors import AgentError, ContextOverflow, UpstreamError, UpstreamTimeout

Redact = Callable[[str], str]

MAX_MESSAGE = 1000
"""Characters: as many as a client is told. The record has fewer, but redacts before it cuts."""
MAX_RETRY_AFTER = 24 * 60 * 60.0

_PASSED_ON = {
    400: "invalid_request",
    404: "model_not_found",
    409: "conflict",
    413: "request_too_large",
    422: "invalid_request",
}
"""Statuses that mean the client's request, with the code for those that give none."""
_STATUS_OF = {
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "context_length_exceeded": 400,
    "model_not_found": 404,
}
"""What a frame's ``code`` means where it bears no status."""
_STATUSES = frozenset(map(str, range(400, 600)))
_OVERFLOW = re.compile(r"context_length_exceeded|exceed_context_size|maximum context length", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z][\w.\[\]-]{0,63}", re.ASCII)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|rk|org|proj)-[\w*.-]{6,}|\bBearer\s+\S+", re.ASCII)
_REDACTED = "[redacted]"


def redactor(secrets: tuple[str, ...]) -> Redact:
    """A function that takes `secrets`, and what looks like a key, out of a text."""

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, _REDACTED)
        return _LOOKS_SECRET.sub(_REDACTED, text)

    return redact


@dataclass(frozen=True, slots=True)
class Details:
    """What of an error envelope is worth keeping; None where it does not say."""

    message: str | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None


def error_in(payload: Mapping[str, Any]) -> Any:
    """The error that a JSON object bears, or None: under ``error``, or the object itself as old vLLM sends it."""
    error = payload.get("error")
    if error:
        return error
    return payload if payload.get("object") == "error" else None


def details_of(error: Any, redact: Redact) -> Details:
    """Read an error: a string, or an object with some of the four keys. ``code`` may be a status."""
    if isinstance(error, str):
        return Details(message=_text(error, redact))
    if not isinstance(error, Mapping):
        return Details()
    code = error.get("code")
    number = int(code) if isinstance(code, int) or (isinstance(code, str) and code in _STATUSES) else 0
    return Details(
        message=_text(error.get("message"), redact),
        code=_identifier(code, redact),
        type=_identifier(error.get("type"), redact),
        param=_identifier(error.get("param"), redact),
        status=number if 400 <= number < 600 else None,
    )


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, redact: Redact, now: datetime) -> AgentError:
    """The error for an answer whose HTTP status is no success. `body` may be cut off."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    error = error_in(payload) if isinstance(payload, Mapping) else None
    details = None if error is None else details_of(error, redact)
    return _mapped(status, details, retry_after(headers, now))


def frame_error(error: Any, redact: Redact) -> AgentError:
    """The error for one in the middle of a stream, or in place of an answer with status 200."""
    details = details_of(error, redact)
    return _mapped(details.status or _STATUS_OF.get(details.code or "", 500), details, None)


def _mapped(status: int, details: Details | None, retry: float | None) -> AgentError:
    said = details or Details()
    if status in (401, 402, 403):
        return UpstreamError(
            "The gateway is not allowed to use the upstream.", code="upstream_authentication_error", retry_after=retry
        )
    if status == 429:
        return UpstreamError(
            "The upstream's rate limit is reached.",
            code=said.code or "rate_limit_exceeded",
            type="rate_limit_error",
            status=429,
            retry_after=retry,
        )
    if status in _PASSED_ON and (details is not None or status != 404):
        return _client_error(status, said)
    if status in (408, 504):
        ours = "The upstream did not answer in time."
        return UpstreamTimeout(said.message or ours, retry_after=retry, record_as=ours)
    ours = f"The upstream failed with status {status}."
    fitting = 503 if status in (503, 529) else 502
    return UpstreamError(said.message or ours, status=fitting, retry_after=retry, record_as=ours)


def _client_error(status: int, said: Details) -> AgentError:
    ours = f"The upstream refused the request with status {status}."
    message = said.message or ours
    if _OVERFLOW.search(f"{said.code} {said.type} {message}"):
        return ContextOverflow(message, param=said.param, record_as=ours)
    return AgentError(
        message,
        code=said.code or _PASSED_ON[status],
        type="invalid_request_error",
        status=status,
        param=said.param or ("model" if status == 404 else None),
        record_as=ours,
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or an HTTP date (RFC 9110, 10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return _bounded(seconds)
    try:
        return _bounded((parsedate_to_datetime(value or "") - now).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a time zone
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _text(value: Any, redact: Redact) -> str | None:
    """A message on one line: redacted first and cut then, so that no part of a secret is left at the cut."""
    if not isinstance(value, str):
        return None
    text = " ".join("".join(c if c.isprintable() else " " for c in redact(value[:65536])).split())
    text = redact(text)
    return (text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…") or None


def _identifier(value: Any, redact: Redact) -> str | None:
    fits = isinstance(value, str) and _IDENTIFIER.fullmatch(value) and redact(value) == value
    return value if fits else None
