"""A Responses request → `AgentRequest`.

Source of the fields: ``CreateResponseBody`` of Open Responses, and ``ModelResponseProperties`` and
``ResponseProperties`` of OpenAI's OpenAPI file.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field as Constraint

from gateway_project.agents.request import (
    AgentRequest,
    ResponseFormat,
    Sampling,
)
from gateway_project.transport.errors import InvalidValue, MissingParameter, UnsupportedParameter
from gateway_project.transport.schema import (
    HONOURED,
    RECORDED,
    REFUSED,
    CacheRetention,
    Few,
    Field,
    Label,
    Metadata,
    Penalty,
    ReasoningEffort,
    RunContext,
    ServiceTier,
    Temperature,
    TopLogprobs,
    TopP,
    Verbosity,
    WireModel,
)
from gateway_project.transport.tools import Name

from .conversation import ConversationRequest
from .tools import Choice, Function, Tool, chosen, functions_of, left_out

INCLUDE_LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = (
    INCLUDE_LOGPROBS,
    # What these name never exists here, so that nothing is left out: no agent tells its reasoning encrypted, and no
    # tool is run by the server. Clients ask for them all the same.
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
"""``IncludeEnum`` of OpenAI's OpenAPI file."""


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
    verbosity: Verbosity | None = None


class ReasoningOptions(WireModel):
    """How to reason. `generate_summary` is the old name of `summary`."""

    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class StreamOptions(WireModel):
    """Options of a stream. No padding is ever sent, so there is none to leave out."""

    include_obfuscation: bool | None = None


class ResponseRequest(ConversationRequest):
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
        "max_tool_calls": HONOURED,
        "metadata": RECORDED,
        "user": RECORDED,
        "safety_identifier": RECORDED,
        "prompt_cache_key": RECORDED,
        "prompt_cache_retention": RECORDED,
        "prompt_cache_options": RECORDED,
        "service_tier": RECORDED,
        "store": HONOURED,
        "background": HONOURED,
        "previous_response_id": HONOURED,
        "conversation": REFUSED,
        "prompt": REFUSED,
        "moderation": REFUSED,
    }

    tools: Few[Tool] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    max_output_tokens: Annotated[int, Constraint(ge=16)] | None = None
    temperature: Temperature = None
    top_p: TopP = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    top_logprobs: TopLogprobs = None
    include: Few[str] | None = None
    reasoning: ReasoningOptions | None = None
    stream_options: StreamOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: Annotated[int, Constraint(ge=1)] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    prompt_cache_retention: CacheRetention | None = None
    prompt_cache_options: dict[str, Any] | None = None
    service_tier: ServiceTier | None = None
    store: bool | None = None
    background: bool | None = None

    @property
    def functions(self) -> list[Function]:
        """The tools that are supported."""
        return functions_of(self.tools)

    @property
    def reasoning_summary(self) -> str | None:
        """Which summary of its reasoning the agent is asked for."""
        return (self.reasoning.summary or self.reasoning.generate_summary) if self.reasoning else None

    def recorded(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Also which tools were left out."""
        others = left_out(self.tools)
        return super().recorded(payload) | ({"tools_left_out": others[:20]} if others else {})

    def agent_request(self, context: RunContext) -> AgentRequest:
        """The same in no endpoint's dialect."""
        self._check_support()
        self._check_across_fields()
        return AgentRequest(
            run_id=context.run_id,
            model=context.model,
            messages=self.messages(context),
            tools=tuple(function.as_tool() for function in self.functions),
            tool_choice=chosen(self.tool_choice, self.functions),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            max_tool_calls=self.max_tool_calls,
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
        for index, wanted in enumerate(self.include or ()):
            if wanted not in INCLUDABLE:
                raise UnsupportedParameter(f"{wanted!r} cannot be included here.", param=f"include[{index}]")

    def _check_across_fields(self) -> None:
        if self.background and self.store is False:
            raise InvalidValue("A response in the background must be stored.", param="store")
        wanted = self.text.format if self.text else None
        if wanted is not None and wanted.type == "json_schema":
            for name, value in (("name", wanted.name), ("schema", wanted.schema_)):
                if value is None:
                    raise MissingParameter(f"text.format.{name}")

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
