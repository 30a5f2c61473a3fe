"""Requests for tests: what an agent is asked by one, or why it is refused."""

from typing import Any

import pytest

from gateway_project import ids
from gateway_project.access.principal import Principal
from gateway_project.agents.request import AgentRequest
from gateway_project.transport.errors import APIError
from responses.conversation import ResponseContext
from responses.schema import ResponseRequest

CONTEXT = ResponseContext(run_id=ids.new_run_id(), model="echo", principal=Principal("api_key", "7", "demo"))
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
SCHEMA_FORMAT = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def asked(**body: Any) -> AgentRequest:
    """What an agent is asked by a request with this body."""
    return ResponseRequest.parse({"model": "scripted/echo", "input": "hello", **body}).agent_request(CONTEXT)


def refusal(**body: Any) -> APIError:
    """The error of a request with this body."""
    with pytest.raises(APIError) as caught:
        asked(**body)
    return caught.value
