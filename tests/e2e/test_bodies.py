"""Every body keeps to the schemas of its protocols, and is refused in its own words; as of streams, in test_frames."""

from typing import Any

import pytest

from tests import spec
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway
from tests.e2e.routes import CHAT, RESPONSES, Route
from tests.e2e.test_frames import CUT_SHORT, FAILING, scenarios
from tests.e2e.wire import Reply, ask
from tests.spec.frames import response_faults

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]


def post(gateway: Gateway, route: Route, model: str, **body: Any) -> Reply:
    whole = route.body(model, stream=False, **body)
    return ask(gateway.port, "POST", route.path, key=gateway.key, body=whole)


def error_of(reply: Reply) -> dict[str, Any]:
    """The error of a refusal, held to the schema."""
    assert reply.headers["content-type"] == "application/json"
    assert "x-request-id" in reply.headers
    assert spec.faults(spec.OPENAI_CHAT, "ErrorResponse", reply.json) == []
    error: dict[str, Any] = reply.json["error"]
    return error


@pytest.mark.compliance("Chat Completions", "CreateChatCompletionResponse", "Error", "before the first byte")
@scenarios
def test_of_chat_completions(gateway: Gateway, model: str, chat: dict[str, Any], responses: dict[str, Any]) -> None:
    reply = post(gateway, CHAT, model, **chat)
    if model in FAILING:
        assert (reply.status, error_of(reply)["type"]) == (504 if model.startswith("hasty") else 500, "server_error")
        return
    assert spec.faults(spec.OPENAI_CHAT, "CreateChatCompletionResponse", reply.json) == []
    reasons = {choice["index"]: choice["finish_reason"] for choice in reply.json["choices"]}
    assert list(reasons) == list(range(chat.get("n", 1)))
    assert (reasons[0] in ("length", "content_filter")) is (model in CUT_SHORT)


@pytest.mark.compliance("Open Responses", "ResponseResource", "ErrorPayload", "Errors")
@pytest.mark.compliance("OpenAI Responses", "Response")
@scenarios
def test_of_responses(gateway: Gateway, model: str, chat: dict[str, Any], responses: dict[str, Any]) -> None:
    reply = post(gateway, RESPONSES, model, **responses)
    if model in FAILING:
        assert (reply.status, error_of(reply)["type"]) == (504 if model.startswith("hasty") else 500, "server_error")
        return
    assert response_faults(reply.json) == []
    assert reply.json["status"] == ("incomplete" if model in CUT_SHORT else "completed")


@pytest.mark.compliance("Chat Completions", "n", "logprobs", "response_format", "Error")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_an_agent_cannot_do_is_refused_by_its_name_in_chat(
    gateway: Gateway, body: dict[str, Any], param: str
) -> None:
    error = error_of(post(gateway, CHAT, "scripted/echo", **body))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)


@pytest.mark.compliance("Open Responses", "include", "text", "ErrorPayload")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
    ],
)
def test_what_an_agent_cannot_do_is_refused_by_its_name_in_responses(
    gateway: Gateway, body: dict[str, Any], param: str
) -> None:
    error = error_of(post(gateway, RESPONSES, "scripted/echo", **body))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)


@pytest.mark.compliance("Chat Completions", "stop", "finish_reason")
@pytest.mark.parametrize("stop", ["charlie", ["delta", "charlie"]], ids=["one", "two"])
def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(gateway: Gateway, stop: Any) -> None:
    [choice] = post(gateway, CHAT, "scripted/count-5", stop=stop).json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("alpha bravo ", "stop")


@pytest.mark.compliance("Chat Completions", "usage")
@pytest.mark.compliance("Open Responses", "ResponseResource.usage")
def test_usage_adds_up_the_same_in_both_protocols(gateway: Gateway) -> None:
    chat = post(gateway, CHAT, "scripted/count-5", prompt="one two three").json["usage"]
    responses = post(gateway, RESPONSES, "scripted/count-5", prompt="one two three").json["usage"]
    assert (chat["prompt_tokens"], chat["completion_tokens"], chat["total_tokens"]) == (3, 5, 8)
    assert (responses["input_tokens"], responses["output_tokens"], responses["total_tokens"]) == (3, 5, 8)


@pytest.mark.compliance("OpenAI Responses", "GET /models", "GET /models/{model}")
def test_of_the_catalogue(gateway: Gateway) -> None:
    listed = ask(gateway.port, "GET", "/v1/models", key=gateway.key).json
    assert spec.faults(spec.OPENAI_RESPONSES, "ListModelsResponse", listed) == []
    one = ask(gateway.port, "GET", "/v1/models/scripted/echo", key=gateway.key).json
    assert spec.faults(spec.OPENAI_RESPONSES, "Model", one) == []
    assert one in listed["data"]
