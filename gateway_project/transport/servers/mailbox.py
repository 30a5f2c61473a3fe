"""What the server tells one application: an `asyncio.Queue` without a bound, and without what counts its tasks."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


class Mailbox:
    """Messages in the order in which they came; daphne puts them in, the application's ``receive`` gets them.

    Half the cost of a queue, of which each request makes one. daphne asks whether there is one by its truth: it must
    have no length.
    """

    __slots__ = ("_messages", "_readers")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()

    def put_nowait(self, message: Message) -> None:
        """Add a message."""
        self._messages.append(message)
        self._wake()

    async def get(self) -> Message:
        """The next message, once it is there."""
        while not self._messages:
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            except BaseException:
                if self._messages:
                    self._wake()  # If it was its turn, it is the next one's now.
                raise
        return self._messages.popleft()

    def _wake(self) -> None:
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return
