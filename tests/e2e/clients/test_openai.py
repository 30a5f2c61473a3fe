"""The official Python client in depth: usage, ids, errors, and what it must not do again."""

from collections.abc import Iterator

import pytest
from openai import APIStatusError, AuthenticationError, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionToolParam
from openai.types.responses import FunctionToolParam

from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway, wait_for

pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
FLAT_WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    """The three lines of the README."""
    with OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=gateway.key) as made:
        yield made


def test_chat_plain(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="scripted/echo",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi you"}],
    )
    assert answer.choices[0].message.content == "Hi you"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 2, 6)


def test_chat_streamed(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="scripted/count-5",
        messages=[{"role": "user", "content": "count"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "alpha bravo charlie delta echo"
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_chat_with_a_tool_there_and_back(client: OpenAI) -> None:
    first = client.chat.completions.create(
        model="scripted/tool", messages=[{"role": "user", "content": "weather?"}], tools=[WEATHER]
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Paris"}')
    second = client.chat.completions.create(
        model="scripted/tool",
        messages=[
            {"role": "user", "content": "weather?"},
            message.to_dict(),  # type: ignore[list-item]  # as a client sends it back
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
        tools=[WEATHER],
    )
    assert second.choices[0].message.content == "The tool said: sunny"


def test_chat_with_a_tool_streamed(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="scripted/tool", messages=[{"role": "user", "content": "weather?"}], tools=[WEATHER]
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"city": "Paris"}'


def test_responses_plain(client: OpenAI) -> None:
    answer = client.responses.create(model="scripted/echo", instructions="Be brief.", input="Hi you")
    assert answer.output_text == "Hi you"
    assert answer.status == "completed"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 2)


def test_responses_streamed(client: OpenAI) -> None:
    with client.responses.stream(model="scripted/count-5", input="count") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert deltas == final.output_text == "alpha bravo charlie delta echo"


def test_responses_with_a_tool_there_and_back(client: OpenAI) -> None:
    first = client.responses.create(model="scripted/tool", input="weather?", tools=[FLAT_WEATHER])
    [call] = first.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')
    second = client.responses.create(
        model="scripted/tool",
        tools=[FLAT_WEATHER],
        input=[
            {"role": "user", "content": "weather?"},
            call.to_dict(),  # type: ignore[list-item]  # as a client sends it back
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ],
    )
    assert second.output_text == "The tool said: sunny"


def test_errors_are_the_clients_own(client: OpenAI, gateway: Gateway) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model="scripted/echo", input="x", temperature=9)
    assert refused.value.param == "temperature"
    with (
        OpenAI(base_url=client.base_url, api_key="wrong") as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.models.list()
    assert "scripted/echo" in {model.id for model in client.models.list()}


@pytest.mark.compliance("Chat Completions", "x-should-retry")
def test_what_was_cancelled_is_not_started_again(client: OpenAI, gateway: Gateway) -> None:
    before = len(gateway.store.runs())
    with pytest.raises(APIStatusError) as timed_out:
        client.chat.completions.create(model="hasty/think-60000ms", messages=[{"role": "user", "content": "x"}])
    assert timed_out.value.status_code == 504
    assert len(gateway.store.runs()) == before + 1


@pytest.mark.compliance("Chat Completions", "disconnect")
def test_closing_a_stream_aborts_its_run(client: OpenAI, gateway: Gateway) -> None:
    stream = client.chat.completions.create(
        model="scripted/slow-3000x20ms", messages=[{"role": "user", "content": "x"}], stream=True
    )
    run_id = stream.response.headers["x-request-id"]
    next(iter(stream))
    stream.close()
    row = wait_for(lambda: gateway.store.ended(run_id))
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")


@pytest.mark.compliance("Open Responses", "disconnect")
def test_a_timeout_of_the_client_aborts_a_plain_request(client: OpenAI, gateway: Gateway) -> None:
    before = {row["id"] for row in gateway.store.runs()}
    impatient = client.with_options(timeout=2, max_retries=0)
    with pytest.raises(Exception, match="timed out"):
        impatient.responses.create(model="scripted/think-60000ms", input="x")
    [run_id] = {row["id"] for row in gateway.store.runs()} - before
    row = gateway.store.ended(run_id)
    assert (row["status"], row["abort_cause"], row["abort_phase"]) == ("aborted", "client_disconnect", "before_output")
