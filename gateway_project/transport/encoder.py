"""What an endpoint says of its wire: events in, bytes out, no I/O."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.transport import sse
from gateway_project.transport.errors import envelope


class StreamEncoder(ABC):
    """Turns a run into a stream of server-sent events."""

    @abstractmethod
    def open(self) -> bytes:
        """What comes before the first event."""

    @abstractmethod
    def event(self, event: AgentEvent) -> bytes:
        """The bytes for one event; none for what the client does not see."""

    def burst(self, events: Sequence[AgentEvent]) -> bytes | None:
        """The bytes for several events at once, where that is cheaper; None: take one after the other."""
        return None

    @abstractmethod
    def close(self, result: Completed | Failed | Aborted) -> bytes:
        """The last word, to the end of the stream."""

    def broken_off(self, error: AgentError) -> bytes:
        """The last word where `close` cannot say it, since the answer cannot be encoded."""
        return sse.data_event(envelope(error)) + sse.DONE


class BodyEncoder(ABC):
    """Turns a run into one JSON body."""

    @abstractmethod
    def event(self, event: AgentEvent) -> None:
        """Take one event in."""

    @abstractmethod
    def body(self, result: Completed) -> bytes:
        """The whole answer."""


Encoder = StreamEncoder | BodyEncoder
