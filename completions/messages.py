"""The messages of a Chat Completions request → the messages of a conversation.

Source: OpenAI's OpenAPI file, ``ChatCompletionRequestMessage``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, assert_never

from pydantic import Field as Constraint

from gateway_project.agents.request import (
    AudioPart,
    ContentPart,
    FilePart,
    ImageDetail,
    ImagePart,
    Message,
    RefusalPart,
    RequestedToolCall,
    TextPart,
)
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.media import only_source
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, refused, tag


class TextContent(WireModel):
    """A part of text."""

    type: Literal["text"]
    text: str


class RefusalContent(WireModel):
    """A part of an assistant message that refused."""

    type: Literal["refusal"]
    refusal: str


class ImageURL(WireModel):
    """A URL, or the picture itself as a data URL."""

    url: str
    detail: ImageDetail | None = None


class ImageContent(WireModel):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageURL


class InputAudio(WireModel):
    """Base64, and what it is."""

    data: str
    format: Literal["wav", "mp3"]


class AudioContent(WireModel):
    """Something to hear."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class File(WireModel):
    """A data URL or bare base64; a URL too, which the schema does not know."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class FileContent(WireModel):
    """A file."""

    type: Literal["file"]
    file: File


TextPartOnly = Annotated[
    Annotated[TextContent, tag("text")] | Annotated[Unsupported, tag("unsupported")], by_type("text")
]
UserPart = Annotated[
    Annotated[TextContent, tag("text")]
    | Annotated[ImageContent, tag("image_url")]
    | Annotated[AudioContent, tag("input_audio")]
    | Annotated[FileContent, tag("file")]
    | Annotated[Unsupported, tag("unsupported")],
    by_type("text", "image_url", "input_audio", "file"),
]
AssistantPart = Annotated[
    Annotated[TextContent, tag("text")]
    | Annotated[RefusalContent, tag("refusal")]
    | Annotated[Unsupported, tag("unsupported")],
    by_type("text", "refusal"),
]


class InstructionMessage(WireModel):
    """``system`` or ``developer``."""

    role: Literal["system", "developer"]
    content: str | Few[TextPartOnly]
    name: str | None = None


class UserMessage(WireModel):
    """``user``: text, images, audio and files."""

    role: Literal["user"]
    content: str | Few[UserPart]
    name: str | None = None


class CalledFunction(WireModel):
    """The function of an earlier call; `arguments` is JSON text."""

    name: str
    arguments: str


class CalledTool(WireModel):
    """An earlier call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


EarlierCall = Annotated[
    Annotated[CalledTool, tag("function")] | Annotated[Unsupported, tag("unsupported")],
    by_type("function", missing="function"),
]


class AssistantMessage(WireModel):
    """``assistant``: text, a refusal, calls."""

    role: Literal["assistant"]
    content: str | Few[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: Few[EarlierCall] | None = None
    function_call: CalledFunction | None = None
    name: str | None = None


class ToolMessage(WireModel):
    """``tool``: the result of a call."""

    role: Literal["tool"]
    content: str | Few[TextPartOnly]
    tool_call_id: str


class FunctionMessage(WireModel):
    """``function``: the result of a call in the old form, found by the function's name."""

    role: Literal["function"]
    content: str | None
    name: str


ChatMessage = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Constraint(discriminator="role"),
]


def conversation(given: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages that `given` stands for.

    Raises:
        UnsupportedParameter: for a part or a call that is not supported, or an uploaded file, naming it.
        InvalidValue: for a file without data, an assistant message that says nothing, and a result that answers no
            earlier call.
    """
    messages: list[Message] = []
    asked: set[str] = set()
    functions: dict[str, str] = {}  # A function of the old form → the id of its latest call.
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        content = _content(message.content, f"{where}.content")
        match message:
            case AssistantMessage():
                spoken = _assistant(message, content, where)
                messages.append(spoken)
                asked.update(call.call_id for call in spoken.tool_calls)
                if message.function_call is not None:
                    functions[message.function_call.name] = spoken.tool_calls[-1].call_id
            case ToolMessage():
                if message.tool_call_id not in asked:
                    raise InvalidValue(
                        f"No earlier assistant message has a tool call with the id {message.tool_call_id!r}.",
                        param=f"{where}.tool_call_id",
                    )
                messages.append(Message("tool", content, tool_call_id=message.tool_call_id))
            case FunctionMessage():
                if message.name not in functions:
                    raise InvalidValue(
                        f"No earlier assistant message has a call of the function {message.name!r}.",
                        param=f"{where}.name",
                    )
                messages.append(Message("tool", content, tool_call_id=functions[message.name]))
            case InstructionMessage() | UserMessage():
                messages.append(Message(message.role, content, name=message.name))
            case _:
                assert_never(message)
    return tuple(messages)


def _assistant(message: AssistantMessage, content: tuple[ContentPart, ...], where: str) -> Message:
    if message.content is None and message.refusal is None and not (message.tool_calls or message.function_call):
        raise InvalidValue("An assistant message needs content or tool_calls.", param=f"{where}.content")
    if message.refusal is not None:
        content = (*content, RefusalPart(message.refusal))
    calls = [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ())]
    if message.function_call is not None:
        # The old form has no ids; the place in the conversation makes one.
        calls.append(RequestedToolCall(f"call_{where}", message.function_call.name, message.function_call.arguments))
    return Message("assistant", content, name=message.name, tool_calls=tuple(calls))


def _call(call: CalledTool | Unsupported, where: str) -> RequestedToolCall:
    if isinstance(call, Unsupported):
        raise refused(call, "Tool calls", where)
    return RequestedToolCall(call.id, call.function.name, call.function.arguments)


def _content(
    content: str | Sequence[AssistantPart | TextPartOnly | UserPart] | None, where: str
) -> tuple[ContentPart, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(
    part: TextContent | RefusalContent | ImageContent | AudioContent | FileContent | Unsupported, where: str
) -> ContentPart:
    match part:
        case TextContent():
            return TextPart(part.text)
        case RefusalContent():
            return RefusalPart(part.refusal)
        case ImageContent():
            return ImagePart(where=f"{where}.image_url", source=part.image_url.url, detail=part.image_url.detail)
        case AudioContent():
            return AudioPart(where=f"{where}.input_audio", source=part.input_audio.data)
        case FileContent():
            place, source = only_source(f"{where}.file", file_id=part.file.file_id, file_data=part.file.file_data)
            return FilePart(where=place, source=source, filename=part.file.filename)
        case Unsupported():
            raise refused(part, "Content parts", where)
        case _:
            assert_never(part)
