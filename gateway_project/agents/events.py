"""What an agent says while it runs: small frozen events, one discriminated union.

Encoders turn them into a protocol's bytes; the supervisor reads times, usage and the end from them.
"""

import math
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
UsageSource = Literal["reported", "estimated"]
Phase = Literal["commentary", "final_answer"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the output with its log probability and the alternatives to it."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()

    @property
    def sayable_logprob(self) -> float:
        """As JSON can say it: a token of no probability has -9999.0 (OpenAI's OpenAPI file, ``logprob``)."""
        return self.logprob if math.isfinite(self.logprob) else -9999.0


@dataclass(slots=True, unsafe_hash=True)
class TextDelta:
    """A piece of the answer's text. `logprobs` belong to just this piece.

    Nobody changes one, though it is not frozen: that would make the most frequent event four times as dear to make.
    """

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] | None = None
    type: Literal["text_delta"] = "text_delta"


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the agent's reasoning: raw, or a summary of it."""

    text: str
    summary: bool = False
    choice: int = 0
    type: Literal["reasoning_delta"] = "reasoning_delta"


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """A piece of a refusal, which clients show apart from an answer."""

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] | None = None
    type: Literal["refusal_delta"] = "refusal_delta"


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a call of one of the *client's* tools.

    The first piece of an `index` carries `call_id` and `name`; later ones only more of `arguments`
    (JSON text). Pieces of one call come before those of the next.
    """

    index: int
    arguments: str = ""
    call_id: str | None = None
    name: str | None = None
    choice: int = 0
    type: Literal["tool_call_delta"] = "tool_call_delta"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call of one of the client's tools, for agents that do not stream it."""

    call_id: str
    name: str
    arguments: str
    choice: int = 0
    type: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolActivity:
    """What the agent does with its *own* tools: for the auditor, never for the client."""

    name: str
    state: Literal["started", "finished", "failed"]
    detail: str = ""
    type: Literal["tool_activity"] = "tool_activity"


@dataclass(frozen=True, slots=True)
class MessagePhase:
    """From here on the text is commentary, or the final answer: a new message begins."""

    phase: Phase
    choice: int = 0
    type: Literal["message_phase"] = "message_phase"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens spent so far, in total for the run; the last one counts. Zero means zero."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "reported"
    type: Literal["usage"] = "usage"

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Finish:
    """A choice is complete, and why. Only `Usage` may come after the last choice's `Finish`."""

    reason: FinishReason = "stop"
    choice: int = 0
    type: Literal["finish"] = "finish"


AgentEvent = (
    TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | ToolCall | ToolActivity | MessagePhase | Usage | Finish
)

Said = AgentEvent | tuple[AgentEvent, ...]
"""An event, or a burst: several that came at once and may leave at once."""
