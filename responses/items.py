"""The input of a Responses request → the messages of a conversation.

Source: Open Responses, "Items", and its OpenAPI file, ``ItemParam``.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, assert_never

from pydantic import Discriminator, Tag
from pydantic import Field as Constraint

from gateway_project.agents.request import ContentPart, Message, RefusalPart, RequestedToolCall, TextPart
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, refused

CallId = Annotated[str, Constraint(min_length=1)]
"""The schema allows 64 characters; some models make longer ones, and what was sent out must be taken back."""


class InputText(WireModel):
    """Text for the agent."""

    type: Literal["input_text"]
    text: str


class OutputText(WireModel):
    """Text of an earlier answer."""

    type: Literal["output_text"]
    text: str


class Refusal(WireModel):
    """A refusal in an earlier answer."""

    type: Literal["refusal"]
    refusal: str


InputPart = Annotated[
    Annotated[InputText, Tag("input_text")]
    | Annotated[OutputText, Tag("output_text")]
    | Annotated[Refusal, Tag("refusal")]
    | Annotated[Unsupported, Tag("unsupported")],
    by_type("input_text", "output_text", "refusal"),
]


class MessageItem(WireModel):
    """A message. Its ``phase`` and ``status`` tell an agent nothing and are not read."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Few[InputPart]


class FunctionCallItem(WireModel):
    """A call that an earlier answer asked for; `arguments` is JSON text."""

    call_id: CallId
    name: Annotated[str, Constraint(min_length=1)]
    arguments: str


class FunctionCallOutputItem(WireModel):
    """The result of a call."""

    call_id: CallId
    output: str | Few[InputPart]


class ReasoningItem(WireModel):
    """Reasoning of an earlier answer. No agent takes it back, so it is dropped."""


def _item_kind(value: Any) -> str:
    """The schema wants a type; the official clients send messages as ``{role, content}`` without one."""
    if not isinstance(value, dict):
        return "unsupported"
    kind = value.get("type", "message" if "role" in value else None)
    return kind if kind in ("message", "function_call", "function_call_output", "reasoning") else "unsupported"


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[Unsupported, Tag("unsupported")],
    Discriminator(_item_kind),
]


def conversation(given: str | Few[InputItem]) -> tuple[Message, ...]:
    """The messages that `given` stands for: a string is one user message.

    Calls go to the assistant's turn they stand in, so that parallel calls and the text before them are one
    message.

    Raises:
        UnsupportedParameter: for an item or a part that is not supported, naming it.
        InvalidValue: for a result that answers no earlier call.
    """
    if isinstance(given, str):
        return (Message("user", (TextPart(given),)),)
    turns: list[tuple[Message, list[RequestedToolCall]]] = []
    asked: set[str] = set()
    for index, item in enumerate(given):
        where = f"input[{index}]"
        match item:
            case MessageItem():
                turns.append((Message(item.role, _content(item.content, f"{where}.content", item.role)), []))
            case FunctionCallItem():
                asked.add(item.call_id)
                if not turns or turns[-1][0].role != "assistant":
                    turns.append((Message("assistant"), []))
                turns[-1][1].append(RequestedToolCall(item.call_id, item.name, item.arguments))
            case FunctionCallOutputItem():
                if item.call_id not in asked:
                    raise InvalidValue(
                        f"No earlier function call has the call_id {item.call_id!r}.", param=f"{where}.call_id"
                    )
                content = _content(item.output, f"{where}.output", "tool")
                turns.append((Message("tool", content, tool_call_id=item.call_id), []))
            case ReasoningItem():
                pass
            case Unsupported():
                raise refused(item, "Items", where)
            case _:
                assert_never(item)
    return tuple(replace(message, tool_calls=tuple(calls)) if calls else message for message, calls in turns)


def _content(content: str | Few[InputPart], where: str, role: str) -> tuple[ContentPart, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{where}[{index}]", role) for index, part in enumerate(content))


def _part(part: InputText | OutputText | Refusal | Unsupported, where: str, role: str) -> ContentPart:
    match part:
        case InputText() | OutputText():
            return TextPart(part.text)
        case Refusal():
            if role != "assistant":
                raise InvalidValue("Only an assistant refuses.", param=f"{where}.type")
            return RefusalPart(part.refusal)
        case Unsupported():
            raise refused(part, "Content parts", where)
        case _:
            assert_never(part)
