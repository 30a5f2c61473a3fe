"""What both protocols' schemas say of the frames of a stream, and of the object that a Responses stream is about."""

from functools import cache
from typing import Any

from tests import spec

Frame = dict[str, Any]


def chat_faults(frame: Frame) -> list[str]:
    """What is wrong with a frame of a Chat Completions stream: a chunk, or the error that ends it."""
    schema = "ErrorResponse" if "error" in frame else "CreateChatCompletionStreamResponse"
    return spec.faults(spec.OPENAI_CHAT, schema, frame)


def event_faults(event: Frame) -> list[str]:
    """What is wrong with an event of a Responses stream, by Open Responses and by OpenAI."""
    told = _as_openai(event)
    return [
        *spec.faults(spec.OPEN_RESPONSES, _open_responses_events()[event["type"]], event),
        *spec.faults(spec.OPENAI_RESPONSES, _openai_events()[told["type"]], told),
    ]


def response_faults(response: Frame) -> list[str]:
    """What is wrong with a response object, by Open Responses and by OpenAI."""
    return [
        *spec.faults(spec.OPEN_RESPONSES, "ResponseResource", response),
        *spec.faults(spec.OPENAI_RESPONSES, "Response", _response_as_openai(response)),
    ]


def _as_openai(event: Frame) -> Frame:
    """`event` without what the two protocols say differently, where this endpoint follows Open Responses."""
    # The raw text of reasoning has another name.
    event = {**event, "type": event["type"].replace("response.reasoning.", "response.reasoning_text.")}
    return event | {"response": _response_as_openai(event["response"])} if "response" in event else event


def _response_as_openai(response: Frame) -> Frame:
    # No usage yet: null here, no key there. Codes of failures: any here, a closed list there.
    told = {key: value for key, value in response.items() if (key, value) != ("usage", None)}
    return told | {"error": response["error"] and {"code": "server_error", "message": response["error"]["message"]}}


@cache
def _open_responses_events() -> dict[str, str]:
    return _by_type(spec.OPEN_RESPONSES, "StreamingEvent")


@cache
def _openai_events() -> dict[str, str]:
    return _by_type(spec.OPENAI_RESPONSES, "Event")


def _by_type(document: str, ending: str) -> dict[str, str]:
    """The names of the schemas of events by the types of these."""
    found: dict[str, str] = {}
    for name, schema in spec.schemas(document).items():
        kind = schema.get("properties", {}).get("type", {})
        if name.endswith(ending) and "enum" in kind:
            found[kind["enum"][0]] = name
    return found
