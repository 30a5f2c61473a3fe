"""The script ``judge``: it behaves like a small model that can do all that a request may ask for.

It calls the first tool, answers in the shape that is wanted, and says what it was told, so that a test can see
that it was told it. What it makes up is the smallest thing that is valid.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from gateway_project.agents.errors import AgentError
from gateway_project.agents.events import AgentEvent, Finish, ReasoningDelta, TextDelta, ToolCallDelta
from gateway_project.agents.request import AgentRequest, FunctionTool
from gateway_project.agents.scripted.instances import NoInstance, Schema, instance_of
from gateway_project.agents.scripted.limits import words

REASONING = "I read it and answer."


def judge(request: AgentRequest) -> Iterator[AgentEvent]:
    """Reason if an effort is asked for, then call a tool or answer."""
    if request.reasoning_effort not in (None, "none"):
        for piece in words(REASONING):
            yield ReasoningDelta(piece, summary=request.reasoning_summary is not None)
    tool = _tool(request)
    if tool is None:
        for piece in words(_answer(request)):
            yield TextDelta(piece)
        return
    yield ToolCallDelta(0, call_id=f"call_{request.run_id.hex}", name=tool.name)
    for piece in words(json.dumps(_instance(tool.parameters or {}, "object", "tools"))):
        yield ToolCallDelta(0, piece)
    yield Finish("tool_calls")


def _tool(request: AgentRequest) -> FunctionTool | None:
    """The tool to call. One that is not forced is not called once there is a result to speak of."""
    match request.tool_choice.mode:
        case "none":
            return None
        case "function":
            return next(tool for tool in request.tools if tool.name == request.tool_choice.name)
        case "auto" if request.messages[-1].role == "tool":
            return None
        case _:
            return next(iter(request.tools), None)


def _answer(request: AgentRequest) -> str:
    wanted = request.response_format
    match wanted.type:
        case "json_schema":
            return json.dumps(_instance(wanted.schema, None, "response_format"))
        case "json_object":
            return json.dumps({"answer": _reply(request)})
        case "text":
            return _reply(request)


def _reply(request: AgentRequest) -> str:
    """What the last turn said, and what else than text the conversation holds."""
    last = request.messages[-1]
    results = [message.text for message in takewhile(lambda m: m.role == "tool", reversed(request.messages))][::-1]
    said = f"The tool said: {', '.join(results)}" if results else f"You said: {last.text}"
    seen = Counter(part.type for message in request.messages for part in message.content)
    attached = [f"{count} {kind}" for kind, count in seen.items() if kind not in ("text", "refusal")]
    return f"I see {', '.join(attached)}. {said}" if attached else said


def _instance(schema: Schema, type: str | None, param: str) -> Any:  # noqa: A002 - the keyword's name
    try:
        return instance_of(schema, type=type)
    except NoInstance as error:
        raise AgentError(
            f"No instance of the schema can be made: {error}",
            code="invalid_json_schema",
            type="invalid_request_error",
            status=400,
            param=param,
        ) from error
