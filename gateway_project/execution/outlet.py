"""The one seam between a run and whoever listens to it."""

from collections.abc import Mapping
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
    """Somebody other than the client stopped the run, and the client is still there to be told."""

    cause: AbortCause
    usage: Usage


RunResult = Completed | Failed | Aborted


@dataclass(slots=True)
class OutletStats:
    """What has left through an outlet."""

    events: int = 0
    bytes: int = 0
    http_status: int | None = None


class Outlet(Protocol):
    """Where a run's events go. One task writes; `end` may be called by another and wins."""

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

    def gone(self) -> None:
        """Nobody listens any more: write nothing from now on."""
