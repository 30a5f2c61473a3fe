"""Flow control over a Twisted transport, which tells a producer when its buffer is full and when it is empty."""

import asyncio
from typing import Any


class Flow:
    """Those who wait until a connection takes more, or until the kernel has everything."""

    def __init__(self) -> None:
        self.is_full = False
        self._room: asyncio.Future[None] | None = None
        self._flushed: asyncio.Future[bool] | None = None

    async def wait_for_room(self, transport: Any) -> None:
        """Wait while the write buffer is full. Returns at once when the connection is lost."""
        if self.is_full and transport.connected:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    async def wait_until_flushed(self, transport: Any) -> bool:
        """Wait until the kernel has all that was written. False when the connection was lost before."""
        if not buffered(transport):
            return True
        if not transport.connected:
            return False
        self._flushed = self._flushed or asyncio.get_running_loop().create_future()
        # Twisted tells its producer when the buffer is empty only if it was told to pause before.
        transport.producerPaused = True
        return await asyncio.shield(self._flushed)

    def full(self) -> None:
        """The write buffer is full."""
        self.is_full = True

    def emptied(self) -> None:
        """The write buffer is empty."""
        self._end(flushed=True)

    def lost(self, transport: Any) -> None:
        """The connection is gone; nobody may wait for it any longer."""
        self._end(flushed=not buffered(transport))

    def _end(self, *, flushed: bool) -> None:
        self.is_full = False
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        if self._flushed is not None:
            self._flushed.set_result(flushed)
            self._flushed = None


def buffered(transport: Any) -> int:
    """Bytes that wait in a Twisted transport. A TLS transport does not tell; it counts as empty."""
    waiting = getattr(transport, "_tempDataLen", 0)
    buffer = getattr(transport, "dataBuffer", b"")
    return int(waiting) + len(buffer) - int(getattr(transport, "offset", 0))
