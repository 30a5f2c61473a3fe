"""An `AgentRequest` → what the engine is asked. Pure functions.

The model's chat template knows system, user and assistant; tools it does not know. A tool call is therefore
built from output that a schema constrains, and whether to call one with ``tool_choice`` ``auto`` is decided
here: a model of this size cannot.
"""

import re
from collections.abc import Mapping
from typing import Any

from gateway_project.agents.request import AgentRequest, FunctionTool, Message, ResponseFormat

TEMPERATURE = 0.2
TOP_P = 0.9
"""What the model's authors recommend, where the client says nothing."""

_COMMON_WORDS = frozenset(
    {
        "about",
        "call",
        "does",
        "function",
        "given",
        "have",
        "make",
        "name",
        "some",
        "tell",
        "that",
        "this",
        "what",
        "with",
    }
)


def chosen_tool(request: AgentRequest) -> FunctionTool | None:
    """The tool that is to be called, or None for an answer in words.

    With ``auto`` it is one whose name or description shares a word with the user's last message; a tool's
    result is always answered in words.
    """
    by_name = {tool.name: tool for tool in request.tools}
    mode = request.tool_choice.mode
    if mode == "function":
        return by_name[request.tool_choice.name or ""]
    tools = request.callable_tools
    if not tools:
        return None
    last = request.messages[-1]
    asked = _words(last.text)
    ranked = sorted(tools, key=lambda tool: -_kinship(tool, asked))
    if mode == "required" or (last.role == "user" and _kinship(ranked[0], asked)):
        return ranked[0]
    return None


def engine_body(request: AgentRequest, tool: FunctionTool | None) -> dict[str, Any]:
    """The engine's request, in the dialect of Chat Completions."""
    sampling = request.sampling
    messages = [_message(message) for message in request.messages]
    if tool is not None:
        messages.insert(0, {"role": "system", "content": _instruction(tool)})
    return {
        "messages": _merged(messages),
        "temperature": TEMPERATURE if sampling.temperature is None else sampling.temperature,
        "top_p": TOP_P if sampling.top_p is None else sampling.top_p,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": dict(sampling.logit_bias) if sampling.logit_bias else None,
        "stop": list(request.stop) or None,
        "logprobs": request.logprobs or None,
        "top_logprobs": request.top_logprobs if request.logprobs else None,
        "response_format": _schema("arguments", _parameters(tool)) if tool else _format(request.response_format),
    }


def _kinship(tool: FunctionTool, asked: set[str]) -> int:
    return len(_words(f"{tool.name} {tool.description or ''}") & asked)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{4,}", text.lower())) - _COMMON_WORDS


def _instruction(tool: FunctionTool) -> str:
    what = f" ({tool.description})" if tool.description else ""
    return f"Call the function {tool.name}{what} for the user. Reply with its arguments as JSON."


def _parameters(tool: FunctionTool) -> Mapping[str, Any]:
    return tool.parameters or {"type": "object", "properties": {}, "additionalProperties": False}


def _format(wanted: ResponseFormat) -> dict[str, Any] | None:
    if wanted.type == "json_object":
        return {"type": "json_object"}
    return _schema(wanted.name or "answer", wanted.schema or {}) if wanted.type == "json_schema" else None


def _schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema)}}


def _message(message: Message) -> dict[str, str]:
    calls = "".join(f"\n{call.name}({call.arguments})" for call in message.tool_calls)
    match message.role:
        case "tool":
            return {"role": "user", "content": f"The function's result is: {message.text}"}
        case "developer":
            return {"role": "system", "content": message.text}
        case role:
            return {"role": role, "content": (message.text + calls).strip()}


def _merged(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """All system texts as one message at the front, where the template wants it."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest
