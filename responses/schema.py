"""A Responses request → `AgentRequest`.

Source of the fields: ``CreateResponseBody`` of Open Responses, and ``ModelResponseProperties`` and
``ResponseProperties`` of OpenAI's OpenAPI file.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field as Constraint
from pydantic import Tag

from gateway_project.agents.request import (
    AgentRequest,
    FunctionTool,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolChoice,
)
from gateway_project.transport.errors import InvalidValue, UnsupportedParameter
from gateway_project.transport.schema import (
    HONOURED,
    RECORDED,
    REFUSED,
    Few,
    Field,
    Label,
    Metadata,
    Penalty,
    RunContext,
    RunRequest,
    Unsupported,
    WireModel,
    by_type,
    refused,
    refused_unless,
)

from .items import InputItem, conversation

INCLUDE_LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = (INCLUDE_LOGPROBS, "reasoning.encrypted_content")

Name = Annotated[str, Constraint(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]


class Function(WireModel):
    """A function that the client offers."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


Tool = Annotated[Annotated[Function, Tag("function")] | Annotated[Unsupported, Tag("unsupported")], by_type("function")]


class NamedFunction(WireModel):
    """The agent must call this function."""

    type: Literal["function"]
    name: str


NamedChoice = Annotated[
    Annotated[NamedFunction, Tag("function")] | Annotated[Unsupported, Tag("unsupported")], by_type("function")
]


class Format(WireModel):
    """The answer's shape; everything but `type` belongs to ``json_schema``."""

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Constraint(default=None, alias="schema")
    strict: bool | None = None


class TextOptions(WireModel):
    """How the text of the answer is to be."""

    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(WireModel):
    """How to reason. `generate_summary` is the old name of `summary`."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class StreamOptions(WireModel):
    """Options of a stream. No padding is ever sent, so there is none to leave out."""

    include_obfuscation: bool | None = None


class ResponseRequest(RunRequest):
    """The body of ``POST /v1/responses``."""

    fields_table: ClassVar[Mapping[str, Field]] = {
        "model": HONOURED,
        "input": HONOURED,
        "instructions": HONOURED,
        "tools": HONOURED,
        "tool_choice": HONOURED,
        "parallel_tool_calls": HONOURED,
        "text": HONOURED,
        "max_output_tokens": HONOURED,
        "temperature": HONOURED,
        "top_p": HONOURED,
        "presence_penalty": HONOURED,
        "frequency_penalty": HONOURED,
        "top_logprobs": HONOURED,
        "include": HONOURED,
        "reasoning": HONOURED,
        "stream": HONOURED,
        "stream_options": HONOURED,
        # "auto" lets a server drop old input; none is ever dropped here, which both values allow.
        "truncation": HONOURED,
        # Bounds the calls of tools that the server runs by itself, of which there are none.
        "max_tool_calls": RECORDED,
        "metadata": RECORDED,
        "user": RECORDED,
        "safety_identifier": RECORDED,
        "prompt_cache_key": RECORDED,
        "prompt_cache_retention": RECORDED,
        "prompt_cache_options": RECORDED,
        "service_tier": RECORDED,
        # Nothing is stored, and the response says so.
        "store": RECORDED,
        "background": refused_unless(False),
        "previous_response_id": REFUSED,
        "conversation": REFUSED,
        "prompt": REFUSED,
        "moderation": REFUSED,
    }

    input: str | Few[InputItem] | None = None
    instructions: str | None = None
    tools: Few[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    max_output_tokens: Annotated[int, Constraint(ge=16)] | None = None
    temperature: Annotated[float, Constraint(ge=0, le=2)] | None = None
    top_p: Annotated[float, Constraint(ge=0, le=1)] | None = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    top_logprobs: Annotated[int, Constraint(ge=0, le=20)] | None = None
    include: Few[str] | None = None
    reasoning: ReasoningOptions | None = None
    stream_options: StreamOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: Annotated[int, Constraint(ge=1)] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None

    @property
    def functions(self) -> list[Function]:
        """The tools that are supported."""
        return [tool for tool in self.tools or () if isinstance(tool, Function)]

    @property
    def reasoning_summary(self) -> str | None:
        """Which summary of its reasoning the agent is asked for."""
        return (self.reasoning.summary or self.reasoning.generate_summary) if self.reasoning else None

    def agent_request(self, context: RunContext) -> AgentRequest:
        """The same in no endpoint's dialect."""
        self._check_support()
        self._check_across_fields()
        return AgentRequest(
            run_id=context.run_id,
            model=context.model,
            messages=self._messages(),
            tools=tuple(FunctionTool(f.name, f.description, f.parameters, f.strict) for f in self.functions),
            tool_choice=self._tool_choice(),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            response_format=self._response_format(),
            max_output_tokens=self.max_output_tokens,
            sampling=Sampling(
                temperature=self.temperature,
                top_p=self.top_p,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
            ),
            logprobs=INCLUDE_LOGPROBS in (self.include or ()),
            top_logprobs=self.top_logprobs or 0,
            reasoning_effort=self.reasoning.effort if self.reasoning else None,
            reasoning_summary=self.reasoning_summary,
            verbosity=self.text.verbosity if self.text else None,
            metadata=self.metadata or {},
            principal_id=context.principal.id,
            principal_label=context.principal.label,
        )

    def _check_support(self) -> None:
        for index, tool in enumerate(self.tools or ()):
            if isinstance(tool, Unsupported):
                raise refused(tool, "Tools", f"tools[{index}]")
        if isinstance(self.tool_choice, Unsupported):
            raise refused(self.tool_choice, "Choices", "tool_choice")
        for index, wanted in enumerate(self.include or ()):
            if wanted not in INCLUDABLE:
                raise UnsupportedParameter(f"{wanted!r} cannot be included here.", param=f"include[{index}]")

    def _check_across_fields(self) -> None:
        names = {function.name for function in self.functions}
        if isinstance(self.tool_choice, NamedFunction) and self.tool_choice.name not in names:
            raise InvalidValue(f"No tool is named {self.tool_choice.name!r}.", param="tool_choice.name")
        if self.tool_choice == "required" and not names:
            raise InvalidValue("'tool_choice' is 'required' but there are no tools.", param="tool_choice")
        wanted = self.text.format if self.text else None
        if wanted is not None and wanted.type == "json_schema":
            for name, value in (("name", wanted.name), ("schema", wanted.schema_)):
                if value is None:
                    raise _missing(f"text.format.{name}")

    def _messages(self) -> tuple[Message, ...]:
        """Instructions lead as a ``system`` message, the role that every chat template knows."""
        if self.input is None:
            raise _missing("input")
        messages = conversation(self.input)
        if not messages:
            raise InvalidValue("The input holds nothing to answer.", param="input")
        if not self.instructions:
            return messages
        return (Message("system", (TextPart(self.instructions),)), *messages)

    def _tool_choice(self) -> ToolChoice:
        match self.tool_choice:
            case NamedFunction():
                return ToolChoice("function", self.tool_choice.name)
            case "none" | "auto" | "required":
                return ToolChoice(self.tool_choice)
            case _:
                return ToolChoice()

    def _response_format(self) -> ResponseFormat:
        wanted = self.text.format if self.text else None
        if wanted is None or wanted.type != "json_schema":
            return ResponseFormat(wanted.type if wanted else "text")
        return ResponseFormat(
            "json_schema",
            name=wanted.name,
            schema=wanted.schema_,
            strict=wanted.strict,
            description=wanted.description,
        )


def _missing(param: str) -> InvalidValue:
    return InvalidValue(f"Missing required parameter: {param!r}.", param=param, code="missing_required_parameter")
