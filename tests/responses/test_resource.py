"""The response object: what was asked is echoed, what came of it is told, and no field is ever missing."""

from datetime import UTC, datetime

import pytest

from gateway_project import clock
from gateway_project.agents.events import Finish, TextDelta
from tests import spec
from tests.responses.scenarios import CREATED_AT, FULL_REQUEST, RUN_ID, completed, final, stream


@pytest.mark.compliance(
    "Open Responses",
    "ResponseResource",
    "ResponseResource.tools",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "metadata",
)
def test_what_was_asked_is_echoed_in_every_response_object() -> None:
    events = stream([TextDelta("{}"), Finish()], completed(), **FULL_REQUEST)
    expected = {key: FULL_REQUEST[key] for key in set(FULL_REQUEST) - {"tools", "store", "service_tier", "input"}} | {
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": None,
                "parameters": {"type": "object"},
                "strict": None,
            }
        ],
        "store": False,
        "background": False,
        "service_tier": "default",
        "previous_response_id": None,
        "id": f"resp_{RUN_ID.hex}",
        "object": "response",
        "model": "scripted/echo",
        "created_at": CREATED_AT,
    }
    carriers = [event["response"] for event in events if "response" in event]
    assert len(carriers) == 3
    for response in carriers:
        assert {key: response[key] for key in expected} == expected


@pytest.mark.compliance("Open Responses", "ResponseResource")
def test_what_was_not_asked_is_echoed_as_what_holds() -> None:
    response = final([Finish()], completed())
    required = spec.schemas(spec.OPEN_RESPONSES)["ResponseResource"]["required"]
    assert set(response) == set(required)
    assert len(required) == 31
    numbers = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs")
    assert [response[name] for name in numbers] == [1, 1, 0, 0, 0]
    assert (response["text"], response["tool_choice"], response["truncation"]) == (
        {"format": {"type": "text"}},
        "auto",
        "disabled",
    )
    assert (response["tools"], response["parallel_tool_calls"], response["reasoning"]) == ([], True, None)


@pytest.mark.compliance("Open Responses", "ResponseResource", "text")
@pytest.mark.compliance("OpenAI Responses", "TextResponseFormatJsonSchema.description")
def test_a_schema_for_the_answer_is_echoed_with_all_its_keys() -> None:
    # Open Responses' file allows only null for the schema itself, an accident of its generator; OpenAI's is right.
    wanted = {"type": "json_schema", "name": "city", "schema": {"type": "object"}}
    response = final([Finish()], completed(), text={"format": wanted})
    assert response["text"]["format"] == {**wanted, "description": None, "strict": False}
    del response["text"]["format"]["description"]  # Required and null in one schema, left out in the other.
    assert spec.faults(spec.OPENAI_RESPONSES, "Response", response) == []


@pytest.mark.compliance("Open Responses", "ResponseResource.completed_at", "ResponseResource.usage")
def test_times_and_usage_come_with_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2026, 11, 24, 12, 0, 0, 999_999, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: at)
    response = final([TextDelta("a"), Finish()], completed())
    assert (response["created_at"], response["completed_at"]) == (CREATED_AT, int(at.timestamp()))
    assert response["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
