"""One exception tree and one error envelope for everything that a client is told went wrong.

The envelope has the four keys of both protocols: ``{"error": {"message", "type", "param", "code"}}``.
"""

import logging
import math
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict, assert_never

from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.execution.outlet import Aborted, Failed
from gateway_project.runs.vocabulary import AbortCause

logger = logging.getLogger("gateway.request")


class ErrorBody(TypedDict):
    """What clients read of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(TypedDict):
    """The JSON body of every error reply."""

    error: ErrorBody


class APIError(AgentError):
    """A request that is refused before it reaches an agent."""

    type = "invalid_request_error"
    status = 400
    code = "invalid_request"

    def __init__(self, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = (), **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.headers = headers


class InvalidValue(APIError):
    """A field has the wrong type or value. `param` names it."""

    code = "invalid_value"


class MissingParameter(InvalidValue):
    """A field that is required is not there."""

    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: {param!r}.", param=param)


class UnsupportedParameter(APIError):
    """A field that is not supported here. `param` names it."""

    code = "unsupported_parameter"


class InvalidAPIKey(APIError):
    """No key, or not a usable one."""

    status = 401
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "Incorrect API key provided. Send a valid key as 'Authorization: Bearer <key>'.",
            headers=((b"www-authenticate", b"Bearer"),),
        )


class DatabaseAway(APIError):
    """The keys cannot be looked up now."""

    type = "server_error"
    status = 503
    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The server cannot check your key at the moment. Please try again later.", retry_after=1)


class MethodNotAllowed(APIError):
    """The path is there, the method is not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(
            f"Method {method} is not allowed here. Use {allowed}.", headers=((b"allow", allowed.encode()),)
        )


class BodyTooLarge(APIError):
    """The request's body is longer than `limit` bytes."""

    status = 413
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes.")


class BodyTooSlow(APIError):
    """The request was not whole within `seconds`. The connection is of no more use."""

    status = 408
    code = "request_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The request did not arrive as a whole within {seconds:g} seconds.", headers=((b"connection", b"close"),)
        )


class HeadersTooLarge(APIError):
    """The request line and the headers are more than the server reads."""

    status = 431
    code = "headers_too_large"

    def __init__(self) -> None:
        super().__init__("The request's headers are too many or too large.")


class BadFraming(APIError):
    """What was sent is no HTTP request, or one whose end cannot be told for sure (RFC 9112)."""

    code = "malformed_request"

    def __init__(self, message: str = "The request is not well-formed HTTP/1.1.") -> None:
        super().__init__(message)


class UnknownURL(APIError):
    """No endpoint has this path."""

    status = 404
    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Unknown request URL: {method} {path}.")


class UnsupportedMediaType(APIError):
    """The body is no JSON, or is encoded in a way that is not read here."""

    status = 415
    code = "unsupported_media_type"


class OriginNotAllowed(APIError):
    """A page of another origin wants to open a socket; browsers ask nobody else (RFC 6455, section 10.2)."""

    status = 403
    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"The origin {origin!r} is not allowed. The operator may add it to CORS_ORIGINS.")


class InvalidHost(APIError):
    """The Host header is not one of ``ALLOWED_HOSTS``."""

    code = "invalid_host"

    def __init__(
        self, message: str = "The Host header is not allowed. The operator may add it to ALLOWED_HOSTS."
    ) -> None:
        super().__init__(message)


def aborted_error(cause: AbortCause) -> AgentError:
    """What a client that is still there is told when somebody else stopped its run."""
    match cause:
        case AbortCause.CLIENT_CANCELLED | AbortCause.OPERATOR_CANCELLED:
            return AgentError("The run was cancelled.", code="run_cancelled", status=503)
        case AbortCause.TIMEOUT:
            return AgentError("The run took too long and was stopped.", code="run_timeout", status=504)
        case AbortCause.SHUTDOWN | AbortCause.WORKER_LOST:
            return AgentError("The server is shutting down.", code="shutting_down", status=503, retry_after=1)
        case AbortCause.CLIENT_DISCONNECT | AbortCause.SLOW_READER:
            raise ValueError(f"nobody is there to be told of {cause}")
        case _:
            assert_never(cause)


def told(error: Exception, run_id: uuid.UUID) -> AgentError:
    """The error that the client of a refused request is told. It is logged here, and hidden if it is none of ours."""
    if not isinstance(error, AgentError):
        logger.error("request.failed", exc_info=error, extra={"run_id": run_id})
        error = AgentMisbehaved("The server failed to handle the request.")
    details = {"run_id": run_id, "status": error.status, "code": error.code}
    logger.info("request.refused", extra=details)
    return error


def error_of(result: Failed | Aborted) -> AgentError:
    """The error that a run's result means for the client."""
    return result.error if isinstance(result, Failed) else aborted_error(result.cause)


_TOLD_CHARACTERS = 1000
"""An error may quote what was sent, which may be megabytes."""


def envelope(error: AgentError, names: Mapping[str, str] = MappingProxyType({})) -> ErrorEnvelope:
    """The JSON body for `error`.

    Args:
        names: an endpoint's own, by those that an agent or its upstream has for the same parameters.
    """
    param = None if error.param is None else _told(names.get(error.param, error.param))
    return {"error": {"message": _told(error.message), "type": error.type, "param": param, "code": error.code}}


def _told(text: str) -> str:
    return text if len(text) <= _TOLD_CHARACTERS else text[: _TOLD_CHARACTERS - 1] + "…"


def error_headers(error: AgentError) -> list[tuple[bytes, bytes]]:
    """Headers that tell a client whether and when to try again.

    The official clients retry 408, 409, 429 and 5xx by themselves, but obey ``x-should-retry``: without it
    they would start again what was just cancelled.
    """
    headers = list(error.headers) if isinstance(error, APIError) else []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
        headers.append((b"x-should-retry", b"true"))
    elif error.status >= 500 and error.code in _NEVER_RETRIED:
        headers.append((b"x-should-retry", b"false"))
    return headers


_NEVER_RETRIED = frozenset({"run_cancelled", "run_timeout", "run_closed", "upstream_authentication_error"})
