"""What an agent is asked: one request in no endpoint's dialect."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text in a message."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class RefusalPart:
    """A refusal in an earlier assistant message."""

    refusal: str
    type: Literal["refusal"] = "refusal"


ContentPart = TextPart | RefusalPart


@dataclass(frozen=True, slots=True)
class RequestedToolCall:
    """A call that an earlier assistant message asked for. `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation. `tool_call_id` names the call that a tool message answers."""

    role: Role
    content: tuple[ContentPart, ...] = ()
    name: str | None = None
    tool_calls: tuple[RequestedToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The message's text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function of the client's that the agent may ask it to call."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """May, must or must not the agent call a tool? `name` with ``function`` only."""

    mode: Literal["auto", "none", "required", "function"] = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The shape the answer's text must have. `schema` with ``json_schema`` only."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Hints that an agent may follow or not; None leaves the choice to the agent."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    logit_bias: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """Everything an agent may know of a request. It names no endpoint and no HTTP."""

    run_id: uuid.UUID
    model: str
    messages: tuple[Message, ...]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    response_format: ResponseFormat = field(default_factory=ResponseFormat)
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning_effort: str | None = None
    reasoning_summary: str | None = None
    verbosity: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    principal_id: str = ""
    principal_label: str = ""

    @property
    def characters(self) -> int:
        """How many characters of text the conversation holds."""
        return sum(len(message.text) for message in self.messages)
