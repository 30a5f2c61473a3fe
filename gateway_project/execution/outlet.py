"""The one seam between a run and whoever listens to it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, FinishReason, Usage
from gateway_project.runs.vocabulary import AbortCause


@dataclass(frozen=True, slots=True)
class Completed:
    """The agent finished. `reasons` has each choice's finish reason, by its index and in that order."""

    reasons: Mapping[int, FinishReason]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The agent failed, or the run could not be started."""

    error: AgentError
    usage: Usage


@dataclass(frozen=True, slots=True)
class Aborted:
    """The run was stopped: by somebody other than the client, who is still there to be told, or because it left."""

    cause: AbortCause
    usage: Usage


RunResult = Completed | Failed | Aborted


@dataclass(slots=True)
class OutletStats:
    """What has left through an outlet."""

    events: int = 0
    bytes: int = 0
    kept: int = 0
    """Events that are kept for whoever comes for them later."""
    http_status: int | None = None


Write = Callable[[Sequence[AgentEvent]], Awaitable[None]]


class Outlet(Protocol):
    """Where a run's events go. One task writes; `end` may be called by another and wins.

    One to which it makes a difference that several events come at once has a method ``write_burst(events)``, too.
    """

    stats: OutletStats

    def started(self) -> None:
        """The agent was called: until its first event there may be silence."""

    async def write(self, event: AgentEvent) -> None:
        """Hand on one event; returns when the listener can take more. Ignored after `end` or `gone`."""

    async def end(self, result: RunResult) -> bool:
        """Say the last word. Only the first call does anything.

        Returns:
            Whether all of it was delivered.
        """

    def gone(self, result: Aborted) -> None:
        """Nobody listens any more, or not in time: write nothing from now on, and let no connection stand open.

        `result` is how the run ends for whoever asks later.
        """


def writer_to(outlet: Outlet) -> Write:
    """How events that come at once are written: together, where the outlet knows how, else one after the other."""
    write_burst: Write | None = getattr(outlet, "write_burst", None)
    if write_burst is not None:
        return write_burst

    async def write_each(events: Sequence[AgentEvent]) -> None:
        for event in events:
            await outlet.write(event)

    return write_each
