"""The input of a Responses request → the messages of a conversation.

Source: Open Responses, "Items", and its OpenAPI file, ``ItemParam``.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, assert_never

from pydantic import Discriminator
from pydantic import Field as Constraint

from gateway_project.agents.request import (
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
from gateway_project.transport.schema import Few, Unsupported, WireModel, by_type, name_of_tag, refused, tag

from . import compaction

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


class InputImage(WireModel):
    """A picture: by its URL, or as a data URL."""

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: ImageDetail | None = None


class InputFile(WireModel):
    """A file: by its URL, or as a data URL or bare base64."""

    type: Literal["input_file"]
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None


InputPart = Annotated[
    Annotated[InputText, tag("input_text")]
    | Annotated[OutputText, tag("output_text")]
    | Annotated[Refusal, tag("refusal")]
    | Annotated[InputImage, tag("input_image")]
    | Annotated[InputFile, tag("input_file")]
    | Annotated[Unsupported, tag("unsupported")],
    by_type("input_text", "output_text", "refusal", "input_image", "input_file"),
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


class ReferenceItem(WireModel):
    """An item of an earlier response, by its id. It is replaced by what it names before anything else is done."""

    id: str


class CompactionItem(WireModel):
    """What is left of a conversation that was compacted."""

    encrypted_content: str


_KINDS = frozenset({"message", "function_call", "function_call_output", "reasoning", "item_reference", "compaction"})


def _item_kind(value: Any) -> str:
    """The schema wants a type; the official clients send messages as ``{role, content}`` without one.

    Of an ``item_reference`` it may be null or missing (OpenAI's OpenAPI file, ``ItemReferenceParam``).
    """
    if not isinstance(value, dict):
        return name_of_tag("unsupported")
    kind = value.get("type")
    if kind is None:
        kind = "message" if "role" in value else "item_reference" if "id" in value else None
    return name_of_tag(kind if isinstance(kind, str) and kind in _KINDS else "unsupported")


InputItem = Annotated[
    Annotated[MessageItem, tag("message")]
    | Annotated[FunctionCallItem, tag("function_call")]
    | Annotated[FunctionCallOutputItem, tag("function_call_output")]
    | Annotated[ReasoningItem, tag("reasoning")]
    | Annotated[ReferenceItem, tag("item_reference")]
    | Annotated[CompactionItem, tag("compaction")]
    | Annotated[Unsupported, tag("unsupported")],
    Discriminator(_item_kind),
]


def conversation(given: str | Sequence[InputItem], *, skipped: int = 0) -> tuple[Message, ...]:
    """The messages that `given` stands for: a string is one user message.

    Args:
        skipped: how many items come before the request's own, of which places are told.

    Raises:
        UnsupportedParameter: for an item or a part that is not supported, naming it.
        InvalidValue: for a result that answers no earlier call.
    """
    if isinstance(given, str):
        return (Message("user", (TextPart(given),)),)
    turns = _Turns()
    for index, item in enumerate(given, -skipped):
        turns.add(item, f"input[{index}]")
    return turns.messages()


class _Turns:
    """The turns of a conversation while it is read.

    Calls go to the assistant's turn they stand in, so that parallel calls and the text around them are one message:
    between calls and their results no model takes another.
    """

    def __init__(self) -> None:
        self._turns: list[tuple[Message, list[RequestedToolCall]]] = []
        self._asked: set[str] = set()
        self._room = compaction.room()

    def messages(self) -> tuple[Message, ...]:
        return tuple(replace(message, tool_calls=tuple(calls)) if calls else message for message, calls in self._turns)

    def add(self, item: InputItem, where: str) -> None:
        match item:
            case MessageItem():
                self._say(Message(item.role, _content(item.content, f"{where}.content", item.role)))
            case FunctionCallItem():
                self._call(item)
            case FunctionCallOutputItem():
                self._result(item, where)
            case CompactionItem():
                self._say(compaction.opened(item.encrypted_content, where, self._room))
            case ReferenceItem():
                raise InvalidValue(f"No item has the id {item.id!r}.", param=f"{where}.id", code="item_not_found")
            case ReasoningItem():
                pass
            case Unsupported():
                raise refused(item, "Items", where)
            case _:
                assert_never(item)

    def _say(self, message: Message) -> None:
        if message.role == "assistant" and self._turns and self._turns[-1][1]:
            before, calls = self._turns[-1]
            self._turns[-1] = replace(before, content=(*before.content, *message.content)), calls
        else:
            self._turns.append((message, []))

    def _call(self, item: FunctionCallItem) -> None:
        self._asked.add(item.call_id)
        if not self._turns or self._turns[-1][0].role != "assistant":
            self._say(Message("assistant"))
        self._turns[-1][1].append(RequestedToolCall(item.call_id, item.name, item.arguments))

    def _result(self, item: FunctionCallOutputItem, where: str) -> None:
        if item.call_id not in self._asked:
            message = f"No earlier function call has the call_id {item.call_id!r}."
            raise InvalidValue(message, param=f"{where}.call_id")
        content = _content(item.output, f"{where}.output", "tool")
        self._say(Message("tool", content, tool_call_id=item.call_id))


def _content(content: str | Few[InputPart], where: str, role: str) -> tuple[ContentPart, ...]:
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part, f"{where}[{index}]", role) for index, part in enumerate(content))


def _part(
    part: InputText | OutputText | Refusal | InputImage | InputFile | Unsupported, where: str, role: str
) -> ContentPart:
    match part:
        case InputText() | OutputText():
            return TextPart(part.text)
        case Refusal():
            if role != "assistant":
                raise InvalidValue("Only an assistant refuses.", param=f"{where}.type")
            return RefusalPart(part.refusal)
        case InputImage() | InputFile() if role == "assistant":
            raise InvalidValue("An assistant's message holds no input.", param=f"{where}.type")
        case InputImage():
            place, source = only_source(where, file_id=part.file_id, image_url=part.image_url)
            return ImagePart(where=place, source=source, detail=part.detail)
        case InputFile():
            place, source = only_source(where, file_id=part.file_id, file_data=part.file_data, file_url=part.file_url)
            return FilePart(where=place, source=source, filename=part.filename)
        case Unsupported():
            raise refused(part, "Content parts", where)
        case _:
            assert_never(part)
