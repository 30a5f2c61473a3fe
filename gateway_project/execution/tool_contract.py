"""Holds an answer to what the request says of tools: which may be called, which must be, and how many.

Agents are foreign code and models err. A client that asked for a call must not be handed a text, and one that
allowed two tools must not be asked to call a third.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway_project.agents.errors import ToolChoiceNotSatisfied
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    MessagePhase,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from gateway_project.agents.request import AgentRequest

_CUT_SHORT = frozenset({"length", "content_filter"})


@dataclass(slots=True)
class _Choice:
    """What one choice has said so far."""

    calls: int = 0
    has_text: bool = False
    dropped: list[str] = field(default_factory=list)
    held: list[AgentEvent] = field(default_factory=list)
    """Text that goes out when it is known that a call comes too."""
    indexes: dict[int, int | None] = field(default_factory=dict)
    """The agent's number of a call → ours; None for a call that is dropped."""


class ToolContract:
    """Lets an answer's events through, one after the other.

    Calls that the choice does not permit, and those beyond the bound, are dropped. Where a call is required, text
    is held back until one has begun. Source: Open Responses, "tool_choice", "allowed_tools", "max_tool_calls".

    Args:
        on_dropped: told the name of each call that is dropped.
    """

    def __init__(self, request: AgentRequest, on_dropped: Callable[[str], object]) -> None:
        self._choice = request.tool_choice
        self._most = 1 if not request.parallel_tool_calls else request.max_tool_calls
        self._on_dropped = on_dropped
        self._demands = self._choice.mode in ("required", "function")
        bounds = self._demands or self._choice.mode == "none" or self._choice.allowed is not None
        self.is_idle = not bounds and self._most is None
        """Whether the request says nothing of tools that an answer could break."""
        self._choices: dict[int, _Choice] = {}

    def admit(self, event: AgentEvent) -> Sequence[AgentEvent]:
        """What of the answer goes out now that `event` is there.

        Raises:
            ToolChoiceNotSatisfied: when the choice has finished, and without what was asked for.
        """
        if self.is_idle:
            return (event,)
        match event:
            case TextDelta() | MessagePhase():
                return self._text(self._of(event.choice), event)
            case RefusalDelta():
                self._of(event.choice).has_text = True
                return (event,)
            case ToolCall():
                choice = self._of(event.choice)
                return (*_released(choice), event) if self._take(choice, event.name) else ()
            case ToolCallDelta():
                return self._piece(self._of(event.choice), event)
            case Finish():
                return (self._finish(self._of(event.choice), event),)
            case _:
                return (event,)

    def _of(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())

    def _text(self, choice: _Choice, event: TextDelta | MessagePhase) -> Sequence[AgentEvent]:
        if self._demands and not choice.calls:
            choice.held.append(event)
            return ()
        choice.has_text = choice.has_text or isinstance(event, TextDelta)
        return (event,)

    def _piece(self, choice: _Choice, event: ToolCallDelta) -> Sequence[AgentEvent]:
        released: Sequence[AgentEvent] = ()
        if event.index not in choice.indexes:
            place = choice.calls
            taken = self._take(choice, event.name or "")
            choice.indexes[event.index] = place if taken else None
            released = _released(choice) if taken else ()
        index = choice.indexes[event.index]
        return () if index is None else (*released, replace(event, index=index))

    def _take(self, choice: _Choice, name: str) -> bool:
        """Whether one more call, of the tool `name`, may go out."""
        beyond = self._most is not None and choice.calls >= self._most
        if beyond or not self._choice.permits(name):
            choice.dropped.append(name)
            self._on_dropped(name)
            return False
        choice.calls += 1
        return True

    def _finish(self, choice: _Choice, event: Finish) -> Finish:
        if choice.calls or event.reason in _CUT_SHORT:
            return event
        if self._demands and not choice.has_text:
            raise ToolChoiceNotSatisfied("The agent did not make the tool call that 'tool_choice' asks for.")
        if choice.dropped and not choice.has_text:
            raise ToolChoiceNotSatisfied("The agent called only tools that 'tool_choice' does not permit.")
        return replace(event, reason="stop") if event.reason == "tool_calls" else event


def _released(choice: _Choice) -> Sequence[AgentEvent]:
    held, choice.held = choice.held, []
    choice.has_text = choice.has_text or bool(held)
    return held
