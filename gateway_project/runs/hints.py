"""A hint that some run shall be aborted, so that its owner need not wait for its next look. It may get lost."""

import asyncio
import logging
import uuid

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import connections, transaction

logger = logging.getLogger("gateway.hints")

CHANNEL = "gateway_abort"
"""PostgreSQL's notification channel."""
GROUP = "gateway.abort"
"""The channel layer's group."""

_LAYER_SECONDS = 1.0


def send_hint(run_id: uuid.UUID, alias: str) -> None:
    """Hint once the caller's transaction is committed: by NOTIFY on PostgreSQL, else by the channel layer."""
    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(run_id)])
    elif get_channel_layer() is not None:
        transaction.on_commit(lambda: _send_to_layer(run_id), using=alias)


def _send_to_layer(run_id: uuid.UUID) -> None:
    async def send() -> None:
        async with asyncio.timeout(_LAYER_SECONDS):
            await get_channel_layer().group_send(GROUP, {"type": "gateway.abort", "run_id": str(run_id)})

    try:
        async_to_sync(send)()
    except Exception as error:  # noqa: BLE001 (whatever ails the layer, the owner looks each second anyway)
        logger.warning("hint.not_sent", extra={"error": type(error).__name__})
