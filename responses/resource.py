"""The response object: what was asked, echoed, and what came of it. All 31 fields, every time.

Source: Open Responses, OpenAPI file, ``ResponseResource``.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from gateway_project import clock, ids
from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import Usage

from .schema import ResponseRequest
from .tools import AllowedTools, Function, NamedFunction

Resource = dict[str, Any]
"""A whole ``ResponseResource``."""

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


def usage_object(usage: Usage) -> dict[str, Any]:
    """``Usage``. No agent tells how much it wrote to a cache; OpenAI's schema requires the key."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


class ResponseResource:
    """Makes the response object of one request, as often as its state changes.

    Args:
        created_at: when the request came, in Unix seconds.
        stored: whether the client may ask for it again.
    """

    def __init__(self, request: ResponseRequest, run_id: uuid.UUID, created_at: int, *, stored: bool = False) -> None:
        self.run_id = run_id
        self.background = bool(request.background)
        self._request = request
        self._id = ids.response_id(run_id)
        self._created_at = created_at
        self._stored = stored

    def snapshot(
        self,
        status: Status,
        output: Sequence[dict[str, Any]] = (),
        *,
        usage: Usage | None = None,
        incomplete_reason: str | None = None,
        error: AgentError | None = None,
    ) -> Resource:
        """The whole object in `status`."""
        request = self._request
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(clock.now().timestamp()) if status == "completed" else None,
            "status": status,
            "incomplete_details": {"reason": incomplete_reason} if incomplete_reason else None,
            "model": request.model,
            "previous_response_id": request.previous_response_id,
            "instructions": request.instructions,
            "output": list(output),
            "error": {"code": error.code, "message": error.message} if error else None,
            "tools": [_tool(function) for function in request.functions],
            "tool_choice": _tool_choice(request),
            "truncation": request.truncation or "disabled",
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "text": _text(request),
            "top_p": _number(request.top_p, 1),
            "presence_penalty": _number(request.presence_penalty, 0),
            "frequency_penalty": _number(request.frequency_penalty, 0),
            "top_logprobs": request.top_logprobs or 0,
            "temperature": _number(request.temperature, 1),
            "reasoning": _reasoning(request),
            "usage": usage_object(usage) if usage else None,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "store": self._stored,
            "background": self.background,
            # The tier that was used, not the one that was asked for: there is one.
            "service_tier": "default",
            "metadata": request.metadata or {},
            "safety_identifier": request.safety_identifier,
            "prompt_cache_key": request.prompt_cache_key,
        }


def _number(value: float | None, default: float) -> float:
    return default if value is None else value


def _tool(function: Function) -> dict[str, Any]:
    """All five keys are required."""
    return {
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
        "strict": function.strict,
    }


def _tool_choice(request: ResponseRequest) -> Any:
    if isinstance(request.tool_choice, NamedFunction):
        return {"type": "function", "name": request.tool_choice.name}
    if isinstance(request.tool_choice, AllowedTools):
        choice = request.tool_choice
        named = [{"type": "function", "name": tool.name} for tool in choice.tools if isinstance(tool, NamedFunction)]
        return {"type": "allowed_tools", "mode": choice.mode or "auto", "tools": named}
    return request.tool_choice or "auto"


def _text(request: ResponseRequest) -> dict[str, Any]:
    wanted = request.text.format if request.text else None
    text: dict[str, Any] = {"format": {"type": wanted.type if wanted else "text"}}
    if wanted is not None and wanted.type == "json_schema":
        text["format"] |= {
            "name": wanted.name,
            "description": wanted.description,
            "schema": wanted.schema_,
            "strict": bool(wanted.strict),
        }
    if request.text is not None and request.text.verbosity is not None:
        text["verbosity"] = request.text.verbosity
    return text


def _reasoning(request: ResponseRequest) -> dict[str, Any] | None:
    if request.reasoning is None:
        return None
    return {"effort": request.reasoning.effort, "summary": request.reasoning_summary}
