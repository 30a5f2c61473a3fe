"""What Django's middleware would do: Host, CORS, headers of every reply. It sees no Channels consumer (fact 16)."""

import ipaddress
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway_project.access.authentication import header
from gateway_project.conf import Network, gateway_settings, parse_network
from gateway_project.transport.errors import InvalidHost, OriginNotAllowed

EXPOSED_HEADERS = b"x-request-id, retry-after, x-should-retry"
_DEBUG_HOSTS = [".localhost", "127.0.0.1", "[::1]"]


def check_host(scope: Mapping[str, Any]) -> None:
    """Hold the Host header against ``ALLOWED_HOSTS``, by Django's own rules.

    HTTP/1.0 knows no Host; the server's own address stands for it then, as it does in Django.

    Raises:
        InvalidHost: when it is missing, not allowed, or not one (RFC 9112, section 3.2).
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        raise InvalidHost("The request has more than one Host header.")
    host = hosts[0] if hosts else None
    if host is None and scope.get("http_version") == "1.0" and scope.get("server"):
        address = str(scope["server"][0])
        host = f"[{address}]" if ":" in address else address
    if settings.USE_X_FORWARDED_HOST:
        host = header(scope, b"x-forwarded-host") or host
    allowed = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else [])
    if not _is_allowed(host or "", tuple(allowed)):
        raise InvalidHost


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def common_headers(request_id: uuid.UUID) -> list[tuple[bytes, bytes]]:
    """What every reply of the gateway has, whoever makes it."""
    return [(b"x-request-id", str(request_id).encode()), (b"x-content-type-options", b"nosniff")]


def cors_headers(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The CORS headers for this request's Origin; none when it is not in ``GATEWAY["CORS_ORIGINS"]``."""
    origins = gateway_settings().CORS_ORIGINS
    if not origins:
        return []
    headers = [(b"vary", b"Origin")]
    origin = header(scope, b"origin")
    if origin is not None and ("*" in origins or origin in origins):
        headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
        headers.append((b"access-control-expose-headers", EXPOSED_HEADERS))
    return headers


def check_origin(scope: Mapping[str, Any]) -> None:
    """Hold the Origin of a WebSocket handshake against ``GATEWAY["CORS_ORIGINS"]``; pages of this very host may.

    Raises:
        OriginNotAllowed: for a page from elsewhere. Who sends no Origin is no browser.
    """
    origin = header(scope, b"origin")
    if origin is None:
        return
    origins = gateway_settings().CORS_ORIGINS
    own = urlsplit(origin).netloc == header(scope, b"host")
    if not own and "*" not in origins and origin not in origins:
        raise OriginNotAllowed(origin)


def preflight_headers(scope: Mapping[str, Any], methods: str) -> list[tuple[bytes, bytes]]:
    """What a CORS preflight is answered besides `cors_headers` (Fetch standard, CORS protocol)."""
    wanted = header(scope, b"access-control-request-headers") or "authorization, content-type"
    return [
        (b"access-control-allow-methods", methods.encode()),
        (b"access-control-allow-headers", wanted.encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]


def client_address(scope: Mapping[str, Any]) -> str:
    """The client's address; behind a proxy of ``GATEWAY["TRUSTED_PROXIES"]`` the one that it names.

    Of ``X-Forwarded-For`` the last address counts that no trusted proxy of ours has. What is no address
    counts for nothing, and neither does what stands before it: no proxy of ours wrote it.
    """
    client = scope.get("client")
    address = str(client[0]) if client else ""
    trusted = _networks(gateway_settings().TRUSTED_PROXIES)
    if not trusted:
        return address
    hops = _forwarded_for(scope)
    while _is_trusted(address, trusted) and hops:
        hop = hops.pop()
        if _ip(hop) is None:
            break
        address = hop
    return address


def _forwarded_for(scope: Mapping[str, Any]) -> list[str]:
    """The addresses of every ``X-Forwarded-For``: a proxy may add a line instead of extending the client's."""
    lines: Iterable[bytes] = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
    hops = b",".join(lines).decode("latin-1").split(",")
    return [hop.strip() for hop in hops if hop.strip()]


@lru_cache(maxsize=1)
def _networks(trusted: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(text) for text in trusted)


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    ip = _ip(address)
    return ip is not None and any(ip in network for network in trusted)


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None. One of IPv4 that came in by an IPv6 socket is one of IPv4."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
