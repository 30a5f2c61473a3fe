"""How a server refuses a request that no application shall see: in the gateway's own form."""

from collections.abc import Sequence
from http import HTTPStatus

from gateway_project import ids
from gateway_project.transport import sse
from gateway_project.transport.errors import APIError, envelope, error_headers, told
from gateway_project.transport.host import common_headers, cors_headers


def refusal(error: APIError, origins: Sequence[bytes] = ()) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of the reply, which is logged as a consumer's is.

    The connection is closed afterwards: where the next request on it would begin is not known.

    Args:
        origins: the values of the request's Origin, as far as they are known: without a word of them a page cannot
            read why it is refused, and its client tries again.
    """
    request_id = ids.new_run_id()
    body = sse.dumps(envelope(told(error, request_id)))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *common_headers(request_id),
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
