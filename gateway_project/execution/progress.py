"""How far a run has come, as its events tell: the phase, the output, the tokens, the finish of each choice."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never, get_args

from gateway_project import clock
from gateway_project.agents.errors import AgentMisbehaved
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
    UsageSource,
)
from gateway_project.agents.request import AgentRequest
from gateway_project.runs.vocabulary import AbortPhase

logger = logging.getLogger("gateway.run")

_REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
_SOURCES: tuple[UsageSource, ...] = get_args(UsageSource)
_CHARACTERS_PER_TOKEN = 4
_MOST_TOKENS = 2**31 - 1


class Progress:
    """Follows one run. Until the agent is called `phase` is moved on, and `request` prepared, by the run itself."""

    def __init__(self, request: AgentRequest) -> None:
        self.phase = AbortPhase.QUEUED
        self.first_output_at: datetime | None = None
        self.request = request
        self._characters = 0
        self._heard: int | None = None
        self._finishes: dict[int, FinishReason] = {}
        self._reported: Usage | None = None

    def observe_all(self, burst: Sequence[AgentEvent]) -> None:
        """Keep what matters of events that came at once: nearly always text."""
        for event in burst:
            if type(event) is TextDelta:
                self._output(len(event.text))
            else:
                self.observe(event)

    def observe(self, event: AgentEvent) -> None:
        """Keep what matters of an event.

        Raises:
            AgentMisbehaved: for a finish of no choice that there can be, or with no reason that there is.
        """
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._output(len(event.text))
            case ToolCallDelta() | ToolCall():
                self._output(len(event.arguments))
            case Usage():
                self._take_count(event)
            case Finish():
                self._take_finish(event)
            case ToolActivity() | MessagePhase():
                pass
            case _:
                assert_never(event)

    @property
    def has_finished(self) -> bool:
        """Whether every choice has that was asked for."""
        asked = self.request.choices
        return len(self._finishes) >= asked and sum(choice < asked for choice in self._finishes) == asked

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
            input_tokens=-(-self.request.characters // _CHARACTERS_PER_TOKEN),
            output_tokens=-(-self._characters // _CHARACTERS_PER_TOKEN),
            source="estimated",
        )

    def nobody_hears(self) -> None:
        """What comes from now on is passed on to nobody."""
        if self._heard is None:
            self._heard = self._characters

    @property
    def tokens_heard(self) -> int:
        """Of the output tokens, in whatever way they are counted, the share whose text was passed on."""
        if not self._characters:
            return 0
        heard = self._characters if self._heard is None else self._heard
        return round(self.usage.output_tokens * heard / self._characters)

    def _take_finish(self, finish: Finish) -> None:
        reason = next((known for known in _REASONS if known == finish.reason), None)
        if reason is None or type(finish.choice) is not int or finish.choice < 0:
            raise AgentMisbehaved("The agent finished in a way that nobody knows.")
        self._finishes[finish.choice] = reason
        if self.has_finished:
            self.phase = AbortPhase.FINISHING

    def _take_count(self, usage: Usage) -> None:
        """Believe the agent, unless what it says is no count that the record could hold."""
        counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
        known = usage.source in _SOURCES
        if known and all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in counts):
            self._reported = usage
        else:
            logger.warning("run.usage_ignored", extra={"run_id": self.request.run_id})

    def _output(self, characters: int) -> None:
        self._characters += characters
        if self.first_output_at is None:
            self.first_output_at = clock.now()
            self.phase = AbortPhase.STREAMING
