"""The loop that all our consumers have instead of Channels' own."""

from collections.abc import Mapping
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer

from gateway_project.transport.connection import ASGIReceive


class DirectDispatch(AsyncConsumer):
    """Dispatches a connection's messages one after the other, until it is over.

    Unlike Channels' own loop this asks no channel layer and opens no thread for each message (fact 11).
    """

    async def listen(self, receive: ASGIReceive) -> None:
        """Handle messages until a handler raises `StopConsumer`."""
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            return

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Call the handler named after the message's type."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"No handler for message type {message['type']}")
        await handler(message)
