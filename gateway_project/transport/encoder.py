"""What an endpoint says of its wire: events in, bytes out, no I/O."""

from abc import ABC, abstractmethod

from gateway_project.agents.events import AgentEvent
from gateway_project.execution.outlet import Aborted, Completed, Failed


class StreamEncoder(ABC):
    """Turns a run into a stream of server-sent events."""

    @abstractmethod
    def open(self) -> bytes:
        """What comes before the first event."""

    @abstractmethod
    def event(self, event: AgentEvent) -> bytes:
        """The bytes for one event; none for what the client does not see."""

    @abstractmethod
    def close(self, result: Completed | Failed | Aborted) -> bytes:
        """The last word, to the end of the stream."""


class BodyEncoder(ABC):
    """Turns a run into one JSON body."""

    @abstractmethod
    def event(self, event: AgentEvent) -> None:
        """Take one event in."""

    @abstractmethod
    def body(self, result: Completed) -> bytes:
        """The whole answer."""


Encoder = StreamEncoder | BodyEncoder
