"""A Chat Completions request → `AgentRequest`.

Source of the fields: OpenAI's OpenAPI file, ``CreateChatCompletionRequest``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field as Constraint

from gateway_project.agents.request import (
    AgentRequest,
    FunctionTool,
    ResponseFormat,
    Sampling,
    ToolChoice,
)
from gateway_project.transport.errors import InvalidValue
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
    RunRequest,
    ServiceTier,
    Temperature,
    TopLogprobs,
    TopP,
    Verbosity,
    WireModel,
    at_most,
    refused_unless,
)
from gateway_project.transport.tools import FunctionDefinition

from .messages import ChatMessage, TextContent, conversation
from .tools import Choice, NamedFunction, Tool, chosen, chosen_function, offered


class JSONSchema(WireModel):
    """The schema that the answer must keep to."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Constraint(default=None, alias="schema")
    strict: bool | None = None


class Format(WireModel):
    """The answer's shape."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None


class StreamOptions(WireModel):
    """Options of a stream."""

    include_usage: bool | None = None


class Prediction(WireModel):
    """What the client expects the answer to be."""

    type: Literal["content"]
    content: str | Annotated[Few[TextContent], Constraint(min_length=1)]


TokenLimit = Annotated[int, Constraint(ge=1)] | None
StopSequence = Annotated[str, Constraint(min_length=1)]


class ChatCompletionRequest(RunRequest):
    """The body of ``POST /v1/chat/completions``."""

    fields_table: ClassVar[Mapping[str, Field]] = {
        "messages": HONOURED,
        "model": HONOURED,
        "stream": HONOURED,
        "stream_options": HONOURED,
        "tools": HONOURED,
        "tool_choice": HONOURED,
        "parallel_tool_calls": HONOURED,
        "response_format": HONOURED,
        "max_completion_tokens": HONOURED,
        "max_tokens": HONOURED,
        "stop": HONOURED,
        "n": HONOURED,
        "logprobs": HONOURED,
        "top_logprobs": HONOURED,
        "temperature": HONOURED,
        "top_p": HONOURED,
        "presence_penalty": HONOURED,
        "frequency_penalty": HONOURED,
        "seed": HONOURED,
        "logit_bias": HONOURED,
        "reasoning_effort": HONOURED,
        "verbosity": HONOURED,
        "metadata": RECORDED,
        "user": RECORDED,
        "safety_identifier": RECORDED,
        "prompt_cache_key": RECORDED,
        "prompt_cache_retention": RECORDED,
        "prompt_cache_options": RECORDED,
        "service_tier": RECORDED,
        "prediction": RECORDED,
        "store": RECORDED,
        "modalities": refused_unless(["text"]),
        "audio": REFUSED,
        "functions": HONOURED,
        "function_call": HONOURED,
        "web_search_options": REFUSED,
        "moderation": REFUSED,
    }

    messages: Annotated[Few[ChatMessage], Constraint(min_length=1)]
    stream_options: StreamOptions | None = None
    tools: Annotated[Few[Tool], Constraint(max_length=128)] | None = None
    tool_choice: Choice | None = None
    functions: Annotated[Few[FunctionDefinition], Constraint(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    max_completion_tokens: TokenLimit = None
    max_tokens: TokenLimit = None
    stop: StopSequence | Annotated[Few[StopSequence], Constraint(min_length=1, max_length=4)] | None = None
    n: Annotated[int, Constraint(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs = None
    temperature: Temperature = None
    top_p: TopP = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    seed: Annotated[int, Constraint(ge=-(2**63), lt=2**63)] | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Constraint(ge=-100, le=100)]], at_most(1024)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Verbosity | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: CacheRetention | None = None
    prompt_cache_options: dict[str, Any] | None = None
    service_tier: ServiceTier | None = None
    prediction: Prediction | None = None
    store: bool | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def uses_functions(self) -> bool:
        """Whether calls are asked for in the old form, and so must be answered in it."""
        return bool(self.functions)

    def recorded(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Of a prediction only that there was one: it is content, which the record of a run does not keep."""
        recorded = super().recorded(payload)
        return recorded | {"prediction": True} if "prediction" in recorded else recorded

    def agent_request(self, context: RunContext) -> AgentRequest:
        """The same in no endpoint's dialect."""
        self._check_across_fields()
        tools = self._tools()
        return AgentRequest(
            run_id=context.run_id,
            model=context.model,
            messages=conversation(self.messages),
            tools=tools,
            tool_choice=self._tool_choice(tools),
            # The old form has room for one call.
            parallel_tool_calls=self.parallel_tool_calls is not False and not self.uses_functions,
            response_format=self._response_format(),
            max_output_tokens=self.max_completion_tokens or self.max_tokens,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            sampling=Sampling(
                temperature=self.temperature,
                top_p=self.top_p,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                seed=self.seed,
                logit_bias=self.logit_bias,
            ),
            choices=self.n or 1,
            logprobs=bool(self.logprobs),
            top_logprobs=self.top_logprobs or 0,
            reasoning_effort=self.reasoning_effort,
            verbosity=self.verbosity,
            metadata=self.metadata or {},
            principal_id=context.principal.id,
            principal_label=context.principal.label,
        )

    def _check_across_fields(self) -> None:
        if self.stream_options is not None and not self.stream:
            raise InvalidValue("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
        if self.top_logprobs and not self.logprobs:
            raise InvalidValue("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
        if self.uses_functions and (self.tools or self.tool_choice):
            raise InvalidValue("'functions' is the old form of 'tools': send one of them.", param="functions")
        if isinstance(self.function_call, NamedFunction) and not self.functions:
            raise InvalidValue("'function_call' needs 'functions'.", param="function_call")
        if self.response_format and self.response_format.type == "json_schema" and not self.response_format.json_schema:
            raise InvalidValue("'json_schema' is missing.", param="response_format.json_schema")

    def _tools(self) -> tuple[FunctionTool, ...]:
        if self.functions:
            return tuple(function.as_tool() for function in self.functions)
        return offered(self.tools or ())

    def _tool_choice(self, tools: tuple[FunctionTool, ...]) -> ToolChoice:
        if self.functions:
            return chosen_function(self.function_call, tools)
        return chosen(self.tool_choice, tools)

    def _response_format(self) -> ResponseFormat:
        wanted = self.response_format
        if wanted is None or wanted.type != "json_schema":
            return ResponseFormat(wanted.type if wanted else "text")
        schema = wanted.json_schema
        assert schema is not None, "checked across fields"
        return ResponseFormat(
            "json_schema",
            name=schema.name,
            schema=schema.schema_ or {},
            strict=schema.strict,
            description=schema.description,
        )
