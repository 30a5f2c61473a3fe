"""An answer as it grows: what the agent generated, and how much of each of its pieces was handed to the client."""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from gateway_project.agents.events import (
    AgentEvent,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from gateway_project.growing_text import GrowingText
from gateway_project.runs.content.cutter import MARGIN
from gateway_project.runs.content.drafting import Piece, encoded

_MOST_PIECES = 500
_MOST_PENDING = 1000
"""Events that were generated and may still be handed on; an agent that goes on unheard is no reason to keep more."""

Said = TextDelta | ReasoningDelta | RefusalDelta | ToolCall | ToolCallDelta
"""The events that have content."""


def text_of(event: Said) -> str:
    """What an event adds; of a call its arguments."""
    return event.arguments if isinstance(event, ToolCall | ToolCallDelta) else event.text


@dataclass(slots=True)
class _Growing:
    """A piece that may still grow."""

    key: tuple[Any, ...]
    about: dict[str, Any]
    digest: Any
    text: GrowingText = field(default_factory=GrowingText)
    characters: int = 0
    passed: int = 0
    delivered: int = 0


class Answer:
    """The pieces of one answer, each choice's in order. Beyond `most` characters it only counts and digests."""

    def __init__(self, *, most: int, salt: bytes) -> None:
        self._left = most + MARGIN
        self._salt = salt
        self._pieces: list[_Growing] = []
        self._last: dict[int, _Growing] = {}
        self._phases: dict[int, str] = {}
        self._pending: deque[tuple[Said, _Growing]] = deque(maxlen=_MOST_PENDING)

    def generated(self, event: AgentEvent) -> None:
        """The agent said this."""
        if isinstance(event, MessagePhase):
            self._phases[event.choice] = event.phase
            self._last.pop(event.choice, None)
        elif isinstance(event, Said):
            text = text_of(event)
            piece = self._piece_of(event)
            piece.characters += len(text)
            piece.digest.update(encoded(text))
            if self._left > 0:
                piece.text.add(text[: self._left])
                self._left -= len(text) + 1
            self._pending.append((event, piece))

    def handed_on(self, event: AgentEvent, *, left: bool) -> None:
        """This was given to the outlet. `left`: bytes of it have left already."""
        if not isinstance(event, Said):
            return
        for index, (generated, piece) in enumerate(self._pending):
            if _is_same(generated, event):
                del self._pending[index]
                piece.passed += len(text_of(event))
                if left:
                    piece.delivered = piece.passed
                return

    def all_delivered(self) -> None:
        """All that was given to the outlet has left."""
        for piece in self._pieces:
            piece.delivered = piece.passed

    def pieces(self) -> list[Piece]:
        """As it is now."""
        return [
            Piece(piece.about, str(piece.text), piece.characters, piece.delivered, piece.digest.digest())
            for piece in self._pieces
        ]

    def _piece_of(self, event: Said) -> _Growing:
        key = self._key(event)
        last = self._last.get(event.choice)
        if last is not None and (last.key == key or len(self._pieces) >= _MOST_PIECES):
            return last
        if len(self._pieces) >= _MOST_PIECES:
            return self._pieces[-1]
        made = _Growing(key, self._about(event), hashlib.sha256(self._salt))
        self._pieces.append(made)
        self._last[event.choice] = made
        return made

    def _key(self, event: Said) -> tuple[Any, ...]:
        """What the next event must have in common with this one to belong to the same piece."""
        match event:
            case ReasoningDelta():
                return (event.type, event.summary)
            case ToolCallDelta():
                return (event.type, event.index)
            case ToolCall():
                return (event.type, object())
            case _:
                return (event.type,)

    def _about(self, event: Said) -> dict[str, Any]:
        match event:
            case ToolCall() | ToolCallDelta():
                about: dict[str, Any] = {"type": "tool_call", "call_id": event.call_id, "name": event.name}
            case ReasoningDelta():
                about = {"type": "reasoning_summary" if event.summary else "reasoning"}
            case _:
                about = {"type": event.type.removesuffix("_delta")}
        if event.choice:
            about["choice"] = event.choice
        if event.choice in self._phases and isinstance(event, TextDelta):
            about["phase"] = self._phases[event.choice]
        return about


def _is_same(generated: Said, handed_on: Said) -> bool:
    """Whether what was handed on is what was generated; a call may have got another number on the way."""
    if generated is handed_on:
        return True
    if not (isinstance(generated, ToolCallDelta) and isinstance(handed_on, ToolCallDelta)):
        return False
    return (generated.call_id, generated.arguments, generated.choice) == (
        handed_on.call_id,
        handed_on.arguments,
        handed_on.choice,
    )
