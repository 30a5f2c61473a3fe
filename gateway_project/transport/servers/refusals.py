"""How a server refuses a request that no application shall see: in the gateway's own form."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from gateway_project import ids
from gateway_project.transport import sse
from gateway_project.transport.errors import APIError, envelope, error_headers
from gateway_project.transport.host import cors_headers

logger = logging.getLogger("gateway.request")


def refusal(error: APIError, origins: Sequence[bytes] = ()) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of the reply, which is logged as a consumer's is.

    The connection is closed afterwards: where the next request on it would begin is not known.

    Args:
        origins: the values of the request's Origin, as far as they are known: without a word of them a page cannot
            read why it is refused, and its client tries again.
    """
    request_id = ids.new_run_id()
    logger.info("request.refused", extra={"run_id": request_id, "status": error.status, "code": error.code})
    body = sse.dumps(envelope(error))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", str(request_id).encode()),
        (b"x-content-type-options", b"nosniff"),
        *cors_headers({"headers": [(b"origin", origin) for origin in origins]}),
        *(pair for pair in error_headers(error) if pair[0] != b"connection"),
        (b"connection", b"close"),
    ]
    return headers, body


def raw_refusal(error: APIError, origins: Sequence[bytes] = ()) -> bytes:
    """The same as bytes of HTTP/1.1."""
    headers, body = refusal(error, origins)
    phrase = HTTPStatus(error.status).phrase
    lines = [f"HTTP/1.1 {error.status} {phrase}".encode(), *(name + b": " + value for name, value in headers)]
    return b"\r\n".join([*lines, b"", body])
