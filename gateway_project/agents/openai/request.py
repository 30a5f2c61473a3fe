"""`AgentRequest` → the JSON of a Chat Completions request. No I/O.

Source of the fields: OpenAI's OpenAPI file, ``CreateChatCompletionRequest``. What was not asked for is left out,
because many upstreams refuse or misread what they do not know.
"""

import json
from base64 import b64encode
from typing import Any, assert_never

from pydantic_core import to_json

from gateway_project.agents.openai.options import OpenAIOptions
from gateway_project.agents.request import (
    AgentRequest,
    AudioPart,
    ContentPart,
    FilePart,
    FunctionTool,
    ImagePart,
    MediaPart,
    Message,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
)

Wire = dict[str, Any]

_spelled = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}


def encode(request: AgentRequest, options: OpenAIOptions) -> bytes:
    """The body of the request. Lone surrogates, which UTF-8 cannot hold, become question marks."""
    wire = request_object(request, options)
    try:
        return to_json(wire)
    except ValueError:  # such as a lone surrogate
        return _spelled(wire).encode("utf-8", "replace")


def request_object(request: AgentRequest, options: OpenAIOptions) -> Wire:
    """The request as a JSON object: always streamed, with usage if the upstream knows how."""
    body: Wire = {
        "model": request.model,
        "messages": [_message(message, options.role_of_developers) for message in request.messages],
        "stream": True,
    }
    if options.stream_usage:
        body["stream_options"] = {"include_usage": True}
    body |= _tools(request)
    body |= _given(
        {
            options.token_limit_field: request.max_output_tokens,
            "stop": list(request.stop) or None,
            "n": request.choices if request.choices > 1 else None,
            "response_format": _response_format(request.response_format),
            "reasoning_effort": request.reasoning_effort,
            "verbosity": request.verbosity,
        }
    )
    body |= _sampling(request.sampling)
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body | dict(options.extra_body)


def _message(message: Message, role_of_developers: str) -> Wire:
    wire: Wire = {"role": role_of_developers if message.role == "developer" else message.role}
    text = message.text
    refusal = "".join(part.refusal for part in message.content if isinstance(part, RefusalPart))
    if any(isinstance(part, MediaPart) for part in message.content):
        wire["content"] = [_part(part) for part in message.content]
    else:
        # A refusal also stands for a missing text: upstreams that do not know the key would see an empty turn.
        content = text or refusal
        wire["content"] = None if message.tool_calls and not content else content
    if refusal:
        wire["refusal"] = refusal
    if message.name is not None:
        wire["name"] = message.name
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _part(part: ContentPart) -> Wire:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.refusal}
        case ImagePart():
            return {"type": "image_url", "image_url": _given({"url": part.data_url, "detail": part.detail})}
        case AudioPart():
            sound = {"data": b64encode(part.data).decode(), "format": _AUDIO_FORMATS.get(part.media_type, "")}
            return {"type": "input_audio", "input_audio": sound}
        case FilePart():
            # OpenAI refuses file data without a name.
            return {"type": "file", "file": {"filename": part.filename or "file", "file_data": part.data_url}}
        case _:
            assert_never(part)


def _tools(request: AgentRequest) -> Wire:
    """Nothing without tools: OpenAI refuses the other two fields when there are none.

    Where the choice bounds the tools, only those are offered: few upstreams know ``allowed_tools``.
    """
    bounded = request.tool_choice.allowed is not None
    tools = request.callable_tools if bounded else request.tools
    if not tools:
        return {}
    wire: Wire = {"tools": [_tool(tool) for tool in tools]}
    if request.tool_choice.mode == "function":
        wire["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.name}}
    elif request.tool_choice.mode != "auto":
        wire["tool_choice"] = request.tool_choice.mode
    if not request.parallel_tool_calls:
        wire["parallel_tool_calls"] = False
    return wire


def _tool(tool: FunctionTool) -> Wire:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": _given(function)}


def _response_format(wanted: ResponseFormat) -> Wire | None:
    match wanted.type:
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            schema = {
                "name": wanted.name or "answer",
                "description": wanted.description,
                "schema": wanted.schema,
                "strict": wanted.strict,
            }
            return {"type": "json_schema", "json_schema": _given(schema)}


def _sampling(sampling: Sampling) -> Wire:
    return _given(
        {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "seed": sampling.seed,
            "logit_bias": sampling.logit_bias,
        }
    )


def _given(wire: Wire) -> Wire:
    """Without what is None. Zero, false and the empty string were given."""
    return {key: value for key, value in wire.items() if value is not None}
