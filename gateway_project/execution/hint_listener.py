"""Listens for hints that a run shall be aborted: PostgreSQL's notifications, else the channel layer."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer
from django.db import connections

from gateway_project.runs.hints import CHANNEL, GROUP

logger = logging.getLogger("gateway.hints")

_RETRY_SECONDS = 2.0


class HintListener:
    """Calls `on_hint` for each hint. Without a source of hints it does nothing.

    A lost source is tried again and again: hints only make things faster.
    """

    def __init__(self, alias: str, on_hint: Callable[[], None]) -> None:
        self._alias = alias
        self._on_hint = on_hint
        self._task: asyncio.Task[None] | None = None
        self._is_lost = False

    def start(self) -> None:
        """Listen from here on."""
        if connections[self._alias].vendor == "postgresql":
            listen = self._listen_to_postgresql
        elif get_channel_layer() is not None:
            listen = self._listen_to_layer
        else:
            return
        self._task = asyncio.get_running_loop().create_task(self._keep(listen), name="gateway:hints")

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self, listen: Callable[[], Any]) -> None:
        while True:
            try:
                await listen()
            except Exception as error:  # noqa: BLE001 (whatever ails the source, it is tried again)
                if not self._is_lost:
                    self._is_lost = True
                    logger.warning("hints.lost", extra={"error": type(error).__name__})
                await asyncio.sleep(_RETRY_SECONDS)

    def _listens(self) -> None:
        """From here on hints are heard. Something may have been asked while nobody listened."""
        if self._is_lost:
            self._is_lost = False
            logger.info("hints.recovered")
        self._on_hint()

    async def _listen_to_postgresql(self) -> None:
        import psycopg

        # Django's own parameters, but for what makes its kind of cursor.
        parameters = connections[self._alias].get_connection_params()
        for name in ("cursor_factory", "context", "server_side_binding", "prepare_threshold", "pool"):
            parameters.pop(name, None)
        async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._listens()
            async for _ in connection.notifies():
                self._on_hint()

    async def _listen_to_layer(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(GROUP, channel)
        self._listens()
        while True:
            await layer.receive(channel)
            self._on_hint()
