"""What keeps an answer beside the client that reads it."""

from typing import Protocol


class Keeper(Protocol):
    """Keeps one answer, or the stream of it too, so that it can be asked for again."""

    keeps_stream: bool
    """Whether the stream is kept as it grows; the answer then goes on without its client."""

    def take(self, data: bytes) -> None:
        """Keep more of the stream: whole events."""

    async def room(self) -> None:
        """Wait while too much is taken that is not durable yet."""

    async def finish(self, data: bytes) -> bool:
        """Keep the rest of the stream and the answer as a whole, before the client hears of its end.

        Returns:
            Whether it is durable.
        """

    def abandon(self, data: bytes) -> None:
        """The same without waiting: nobody is there any more."""
