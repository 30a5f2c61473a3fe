"""What an agent is asked: one request in no endpoint's dialect."""

import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]
ImageDetail = Literal["auto", "low", "high", "original"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """What is no text. An agent finds `data` and `media_type` in it, and never has to fetch anything.

    Attributes:
        where: its place in the client's own request, for errors: ``messages[2].content[1].image_url``.
        source: as the client sent it: a URL, a data URL or bare base64. Empty once `data` is there.
        media_type: as the client declared it; once `data` is there, as its bytes show it.
    """

    where: str
    source: str = field(default="", repr=False)
    media_type: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def data_url(self) -> str:
        """The data as a URL of its own."""
        return f"data:{self.media_type};base64,{b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart(MediaPart):
    """A picture. `detail` is a hint."""

    detail: ImageDetail | None = None
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPart(MediaPart):
    """Something to hear."""

    type: Literal["audio"] = "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart(MediaPart):
    """A file. An agent that reads no files gets its text instead, as a `TextPart`."""

    filename: str | None = None
    type: Literal["file"] = "file"


AnyMedia = ImagePart | AudioPart | FilePart
ContentPart = TextPart | RefusalPart | AnyMedia


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
    """May, must or must not the agent call a tool? `name` with ``function`` only.

    `allowed` bounds which tools may be called (``allowed_tools``); None for all of them.
    """

    mode: Literal["auto", "none", "required", "function"] = "auto"
    name: str | None = None
    allowed: frozenset[str] | None = None

    def permits(self, name: str) -> bool:
        """Whether a call of the tool `name` keeps to the choice."""
        if self.mode == "none" or (self.mode == "function" and name != self.name):
            return False
        return self.allowed is None or name in self.allowed


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
    max_tool_calls: int | None = None
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
    def callable_tools(self) -> tuple[FunctionTool, ...]:
        """Those of `tools` that the choice lets the agent call, now."""
        return tuple(tool for tool in self.tools if self.tool_choice.permits(tool.name))

    @property
    def media(self) -> Iterator[tuple[Message, AnyMedia]]:
        """What is no text, in order, each with the message that it stands in."""
        for message in self.messages:
            for part in message.content:
                if isinstance(part, MediaPart):
                    yield message, part

    @property
    def characters(self) -> int:
        """How many characters of text the conversation holds."""
        return sum(len(message.text) for message in self.messages)
