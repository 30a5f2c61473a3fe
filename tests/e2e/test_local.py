"""The embedded model behind both endpoints: what `make run` serves."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from openai import OpenAI

from tests.agents.test_local import LONG_PROMPT
from tests.e2e.abort.test_records import open_run, run_ids
from tests.e2e.clients.test_openai import FLAT_WEATHER, WEATHER
from tests.e2e.gateway import Gateway, Templates
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask
from tests.test_docs import ROOT, blocks

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server with the agents of the project's own settings."""
    folder: Path = tmp_path_factory.mktemp("local")
    store = templates("sqlite").copy(folder)
    config = {"AGENTS": {"local": {"BACKEND": "gateway_project.agents.local.LocalAgent"}}, "DEFAULT_AGENT": "local"}
    server = Gateway(store, config, folder).start()
    yield server
    server.stop()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=gateway.key) as made:
        yield made


def test_any_model_name_is_answered_by_the_default_agent(gateway: Gateway, route: Route, stream: bool) -> None:
    limit = {"max_output_tokens" if route.prompt_field == "input" else "max_tokens": 16}
    body = route.body("gpt-4o-mini", stream=stream, prompt="Tell me a story.") | limit
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=body)
    assert reply.status == 200
    assert len(route.streamed_text(reply.events) if stream else route.text(reply.json)) > 20
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["agent"], row["requested_model"]) == ("completed", "local", "gpt-4o-mini")
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (35, 16, "reported")


def test_a_tool_call_through_the_official_client_on_both_endpoints(client: OpenAI) -> None:
    chat = client.chat.completions.create(
        model="local", messages=[{"role": "user", "content": "What is the weather in Paris?"}], tools=[WEATHER]
    )
    assert chat.choices[0].finish_reason == "tool_calls"
    assert chat.choices[0].message.tool_calls is not None
    called = chat.choices[0].message.tool_calls[0]
    assert called.type == "function"
    assert json.loads(called.function.arguments)["city"]
    with client.responses.stream(model="local", input="What is the weather in Paris?", tools=[FLAT_WEATHER]) as stream:
        [item] = stream.get_final_response().output
    assert item.type == "function_call"
    assert json.loads(item.arguments)["city"]


def test_the_readmes_lines_print_a_story(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    [block] = [block for block in blocks(ROOT / "README.md", "python") if "OpenAI(" in block]
    exec(block.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{gateway.port}").replace("gw-…", gateway.key))
    assert len(capsys.readouterr().out.split()) > 20


@pytest.mark.parametrize("when", ["reading", "answering"])
def test_a_client_that_leaves_stops_the_generation(gateway: Gateway, route: Route, stream: bool, when: str) -> None:
    seen = run_ids(gateway)
    prompt = LONG_PROMPT if when == "reading" else "Tell me a very long story."
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=route.body("local", stream=stream, prompt=prompt))
    run = open_run(gateway, seen)
    if when == "answering" and stream:
        client.read_until(b"delta")
        client.read_until(b"delta")
    client.leave("fin")
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    if when == "reading":
        assert row["abort_phase"] == "before_output"
    # The slot is free: the next one is answered, and not after the ten seconds that reading would have taken.
    limit = {"max_output_tokens" if route.prompt_field == "input" else "max_tokens": 16}
    body = route.body("local", stream=False, prompt="Hi") | limit
    assert ask(gateway.port, "POST", route.path, key=gateway.key, body=body).status == 200


def test_parallel_requests_queue_and_are_all_answered(gateway: Gateway, route: Route) -> None:
    limit = {"max_output_tokens" if route.prompt_field == "input" else "max_tokens": 16}
    clients = [Client(gateway.port) for _ in range(4)]
    for client in clients:
        client.send("POST", route.path, key=gateway.key, body=route.body("local", stream=False, prompt="Hi") | limit)
    replies = [client.read_reply() for client in clients]
    assert [reply.status for reply in replies] == [200] * 4
    # One slot: the runs' times do not overlap.
    rows = sorted((gateway.store.ended(r.headers["x-request-id"]) for r in replies), key=lambda row: row["started_at"])
    assert all(later["started_at"] >= earlier["settled_at"] for earlier, later in pairwise(rows))


def test_the_server_ends_cleanly_in_the_middle_of_a_generation(templates: Templates, tmp_path: Path) -> None:
    store = templates("sqlite").copy(tmp_path)
    config = {"AGENTS": {"local": {"BACKEND": "gateway_project.agents.local.LocalAgent"}}, "DRAIN_SECONDS": 0}
    server = Gateway(store, config, tmp_path).start()
    try:
        client = Client(server.port)
        body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "Tell me a long story."}]}
        client.send("POST", "/v1/chat/completions", key=server.key, body=body)
        client.read_until(b"delta")
        assert server.terminate() == 0
    finally:
        server.stop()
    [row] = store.runs()
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "shutdown", "stopped")
