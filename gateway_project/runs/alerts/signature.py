"""The signature of a webhook's message. Source: Standard Webhooks, "Signature scheme" (symmetric, v1)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

from gateway_project.webhook_settings import secret_bytes


def signed_headers(message_id: str, at: datetime, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The headers that a message goes out with: one signature for each secret, so that secrets can be changed."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_sign(secret_bytes(secret), content)}" for secret in secrets),
    }


def _sign(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
