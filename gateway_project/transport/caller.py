"""Who asks: what every endpoint and transport reads from a connection's headers before it listens to it."""

import re
from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError

from gateway_project.access.authentication import authenticate, header
from gateway_project.access.principal import Principal
from gateway_project.content_modes import ContentMode
from gateway_project.transport.errors import DatabaseAway, InvalidAPIKey, InvalidValue

_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]{1,128}")


async def identify(scope: Mapping[str, Any]) -> Principal:
    """Who is asking.

    Raises:
        InvalidAPIKey: when no adapter knows.
        DatabaseAway: when that cannot be told now.
    """
    try:
        principal = await authenticate(scope)
    except (InterfaceError, OperationalError):
        raise DatabaseAway from None  # The lookup has logged it, once.
    if principal is None:
        raise InvalidAPIKey
    return principal


def client_request_id(scope: Mapping[str, Any]) -> str:
    """The caller's own id for this request, if it is printable ASCII of at most 128 characters."""
    for name in (b"x-client-request-id", b"x-request-id"):
        value = header(scope, name)
        if value and _PRINTABLE_ASCII.fullmatch(value):
            return value
    return ""


CONTENT_HEADER = "x-gateway-content"


def content_mode(scope: Mapping[str, Any]) -> str:
    """How much the caller wants to be kept of this request and its answer, at most; empty when he does not say.

    Raises:
        InvalidValue: when it is none of the modes.
    """
    wanted = header(scope, CONTENT_HEADER.encode())
    if wanted is None:
        return ""
    mode = wanted.strip().lower()
    if mode not in ContentMode.values:
        modes = ", ".join(ContentMode.values)
        raise InvalidValue(f"The header {CONTENT_HEADER} must be one of: {modes}.", param=CONTENT_HEADER)
    return mode
