"""What the server tells one application: an `asyncio.Queue` for one reader, without a bound, at half the cost."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


class Mailbox:
    """Messages in the order in which they came; daphne puts them in, the application's ``receive`` gets them.

    daphne asks whether there is one by its truth: it must have no length.
    """

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, message: Message) -> None:
        """Add a message."""
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> Message:
        """The next message, once it is there. One reader at a time; one that was cancelled may still be on its way out.

        Raises:
            RuntimeError: when another one waits.
        """
        while not self._messages:
            if self._reader is not None and not self._reader.done():
                raise RuntimeError("the application waits for its messages twice")
            mine = self._reader = asyncio.get_running_loop().create_future()
            try:
                await mine
            finally:
                if self._reader is mine:
                    self._reader = None
        return self._messages.popleft()
