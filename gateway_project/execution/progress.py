"""How far a run has come, as its events tell: the phase, the output, the tokens, the finish of each choice."""

import logging
from collections.abc import Mapping
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

logger = logging.getLogger("gateway.run")

_CHARACTERS_PER_TOKEN = 4
_MOST_TOKENS = 2**31 - 1


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
                self._take_count(event)
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
    def finish_reasons(self) -> Mapping[int, FinishReason]:
        """Of the choices that have finished, in the order of their indexes."""
        return dict(sorted(self._finishes.items()))

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

    def _take_count(self, usage: Usage) -> None:
        """Believe the agent, unless what it says is no count that the record could hold."""
        counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
        if all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in counts):
            self._reported = usage
        else:
            logger.warning("run.usage_ignored", extra={"run_id": self._request.run_id})

    def _output(self, characters: int) -> None:
        self._characters += characters
        self.pieces += 1
        if self.first_output_at is None:
            self.first_output_at = clock.now()
            self.phase = AbortPhase.STREAMING
