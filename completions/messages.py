"""The messages of a Chat Completions request → the messages of a conversation.

Source: OpenAI's OpenAPI file, ``ChatCompletionRequestMessage``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, assert_never

from pydantic import Field as Constraint
from pydantic import Tag

from gateway_project.agents.request import ContentPart, Message, RefusalPart, RequestedToolCall, TextPart
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, refused


class TextContent(WireModel):
    """A part of text."""

    type: Literal["text"]
    text: str


class RefusalContent(WireModel):
    """A part of an assistant message that refused."""

    type: Literal["refusal"]
    refusal: str


TextPartOnly = Annotated[
    Annotated[TextContent, Tag("text")] | Annotated[Unsupported, Tag("unsupported")], by_type("text")
]
AssistantPart = Annotated[
    Annotated[TextContent, Tag("text")]
    | Annotated[RefusalContent, Tag("refusal")]
    | Annotated[Unsupported, Tag("unsupported")],
    by_type("text", "refusal"),
]


class InstructionMessage(WireModel):
    """``system`` or ``developer``."""

    role: Literal["system", "developer"]
    content: str | Few[TextPartOnly]
    name: str | None = None


class UserMessage(WireModel):
    """``user``: text. Images, audio and files are not supported yet and refused by name."""

    role: Literal["user"]
    content: str | Few[TextPartOnly]
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


class AssistantMessage(WireModel):
    """``assistant``: text, a refusal, calls."""

    role: Literal["assistant"]
    content: str | Few[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: Few[CalledTool] | None = None
    name: str | None = None


class ToolMessage(WireModel):
    """``tool``: the result of a call."""

    role: Literal["tool"]
    content: str | Few[TextPartOnly]
    tool_call_id: str


ChatMessage = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage, Constraint(discriminator="role")
]


def conversation(given: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages that `given` stands for.

    Raises:
        UnsupportedParameter: for a part that is not supported, naming it.
        InvalidValue: for an assistant message that says nothing, and a result that answers no earlier call.
    """
    messages: list[Message] = []
    asked: set[str] = set()
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        content = _content(message.content, f"{where}.content")
        match message:
            case AssistantMessage():
                messages.append(_assistant(message, content, where))
                asked.update(call.id for call in message.tool_calls or ())
            case ToolMessage():
                if message.tool_call_id not in asked:
                    raise InvalidValue(
                        f"No earlier assistant message has a tool call with the id {message.tool_call_id!r}.",
                        param=f"{where}.tool_call_id",
                    )
                messages.append(Message("tool", content, tool_call_id=message.tool_call_id))
            case InstructionMessage() | UserMessage():
                messages.append(Message(message.role, content, name=message.name))
            case _:
                assert_never(message)
    return tuple(messages)


def _assistant(message: AssistantMessage, content: tuple[ContentPart, ...], where: str) -> Message:
    if message.content is None and message.refusal is None and not message.tool_calls:
        raise InvalidValue("An assistant message needs content or tool_calls.", param=f"{where}.content")
    if message.refusal is not None:
        content = (*content, RefusalPart(message.refusal))
    calls = tuple(
        RequestedToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()
    )
    return Message("assistant", content, name=message.name, tool_calls=calls)


def _content(content: str | Sequence[AssistantPart | TextPartOnly] | None, where: str) -> tuple[ContentPart, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: TextContent | RefusalContent | Unsupported, where: str) -> ContentPart:
    match part:
        case TextContent():
            return TextPart(part.text)
        case RefusalContent():
            return RefusalPart(part.refusal)
        case Unsupported():
            raise refused(part, "Content parts", where)
        case _:
            assert_never(part)
