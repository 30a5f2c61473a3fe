"""How far a run has come, as its events tell: the phase, the output, the tokens, the finish of each choice."""

from datetime import datetime
from typing import assert_never

from gateway_project import clock
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.request import AgentRequest
from gateway_project.runs.vocabulary import AbortPhase

_CHARACTERS_PER_TOKEN = 4


class Progress:
    """Follows one run. `phase` is moved on by the run itself until the agent is called."""

    def __init__(self, request: AgentRequest) -> None:
        self.phase = AbortPhase.QUEUED
        self.first_output_at: datetime | None = None
        self.pieces = 0
        """Of output, about a token each."""
        self._request = request
        self._characters = 0
        self._finishes: dict[int, FinishReason] = {}
        self._reported: Usage | None = None

    def observe(self, event: AgentEvent) -> None:
        """Keep what matters of an event."""
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._output(len(event.text))
            case ToolCallDelta() | ToolCall():
                self._output(len(event.arguments))
            case Usage():
                self._reported = event
            case Finish():
                self._finishes[event.choice] = event.reason
                if self.has_finished:
                    self.phase = AbortPhase.FINISHING
            case ToolActivity() | MessagePhase():
                pass
            case _:
                assert_never(event)

    @property
    def has_finished(self) -> bool:
        """Whether every choice has."""
        return len(self._finishes) >= self._request.choices

    @property
    def finish_reasons(self) -> tuple[FinishReason, ...]:
        """Of the choices that have finished, by index."""
        return tuple(self._finishes[choice] for choice in sorted(self._finishes))

    @property
    def usage(self) -> Usage:
        """What the agent reported last, or an estimate: a token for each four characters, begun ones whole."""
        if self._reported is not None:
            return self._reported
        return Usage(
            input_tokens=-(-self._request.characters // _CHARACTERS_PER_TOKEN),
            output_tokens=-(-self._characters // _CHARACTERS_PER_TOKEN),
            source="estimated",
        )

    def _output(self, characters: int) -> None:
        self._characters += characters
        self.pieces += 1
        if self.first_output_at is None:
            self.first_output_at = clock.now()
            self.phase = AbortPhase.STREAMING
