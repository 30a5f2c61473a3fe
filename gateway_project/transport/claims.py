"""Which paths the gateway answers: a server must know it before the application has seen the request."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

Kind = Literal["http", "websocket"]
"""The type of the scope that a request would become."""

_claims: list[Callable[[Kind, str], bool]] = []


def claim(answers: Callable[[Kind, str], bool]) -> None:
    """Have `is_claimed` ask this, too, whether a path is one of ours."""
    _claims.append(answers)
    is_claimed.cache_clear()


@lru_cache(maxsize=256)  # Asked twice for each request, and nearly always for the same few.
def is_claimed(target: bytes, kind: Kind = "http") -> bool:
    """Whether a request's target (RFC 9112, section 3.2) leads to the gateway."""
    path = unquote(target.partition(b"?")[0].decode("latin-1"))
    return any(answers(kind, path) for answers in _claims)


def origin_form(target: bytes) -> tuple[bytes, bytes] | None:
    """An absolute target as its authority and its path, or None when it is no absolute one of HTTP."""
    if not target.lower().startswith((b"http://", b"https://")):
        return None
    authority, slash, rest = target.partition(b"//")[2].partition(b"/")
    return (authority, slash + rest) if slash and authority else None
