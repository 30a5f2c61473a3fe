"""``GATEWAY["WEBHOOK"]``: who is told when a run ends badly."""

import base64
import binascii
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

ENDS = ("unresponsive", "worker_lost", "failed")
"""The bad ends, the worst first: a run that has two is told of by the first."""

WEBHOOK_ABOVE_ZERO = frozenset({"ATTEMPTS", "CAPACITY", "RETRY_SECONDS"})

_SECRET_PREFIX = "whsec_"  # noqa: S105 (what a secret begins with)
_SECRET_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Without URLs nobody is told. Times in seconds."""

    URLS: tuple[str, ...] = ()
    SECRETS: tuple[str, ...] = ()
    ENDS: tuple[str, ...] = ENDS
    TIMEOUT_SECONDS: float = 15
    ATTEMPTS: int = 12
    RETRY_SECONDS: float = 5
    CAPACITY: int = 10_000


def is_web_address(url: str) -> bool:
    """Whether something can be posted there."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def secret_bytes(secret: str) -> bytes:
    """The key in a secret as Standard Webhooks writes it: ``whsec_`` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: when it is none. The text is not repeated.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError("is no 'whsec_' with base64 of 24 to 64 bytes behind it.")
    return key


def webhook_problems(webhook: WebhookSettings) -> Iterator[tuple[str, str, str | None]]:
    """Say what types alone do not show: the key, what is wrong, and a hint. Addresses may be secrets."""
    for number, url in enumerate(webhook.URLS, start=1):
        if not is_web_address(url):
            yield "URLS", f"number {number} is no http or https address.", None
    for number, secret in enumerate(webhook.SECRETS, start=1):
        try:
            secret_bytes(secret)
        except ValueError as error:
            hint = (
                "Make one: python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
            )
            yield "SECRETS", f"number {number} {error}", hint
    if webhook.URLS and not webhook.SECRETS:
        yield "SECRETS", "must not be empty: whoever receives a message must be able to tell that it is ours.", None
    for end in webhook.ENDS:
        if end not in ENDS:
            near = difflib.get_close_matches(end, ENDS, n=1)
            yield "ENDS", f"{end!r} is none of {', '.join(ENDS)}.", f"Did you mean {near[0]!r}?" if near else None
