"""Five things that every client does: ask, stream, call a tool, leave in mid-stream, and lose its patience."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients.driver import CLIENTS, Case, Client, Driver, Endpoint, Language
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway

NEEDS: dict[Language, pytest.MarkDecorator] = {
    "python": pytest.mark.needs("clients"),
    "node": pytest.mark.needs("node"),
}
CASES = [
    pytest.param((client, endpoint), marks=NEEDS[client.language], id=f"{client.language}-{client.name}-{endpoint}")
    for client in CLIENTS
    for endpoint in client.endpoints
]
pytestmark = [pytest.mark.e2e, ON_ONE_DATABASE]


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Language, Driver]]:
    folder = tmp_path_factory.mktemp("drivers")
    made: dict[Language, Driver] = {"python": Driver("python", folder), "node": Driver("node", folder)}
    yield made
    for driver in made.values():
        driver.stop()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, gateway: Gateway, drivers: dict[Language, Driver]) -> Case:
    found: tuple[Client, Endpoint] = request.param
    client, endpoint = found
    return Case(client, endpoint, drivers[client.language], gateway)


def _instructed(case: Case) -> bool:
    return case.client.name == "by_instructor"


def test_it_asks(case: Case) -> None:
    text = '{"city":"text","days":0}' if _instructed(case) else "You said: Say something."
    assert case.do("plain", "scripted/judge") == {"text": text}


def test_it_streams(case: Case) -> None:
    model, text = ("judge", '{"city":"text","days":0}') if _instructed(case) else ("count-3", "alpha bravo charlie")
    reply = case.do("streamed", f"scripted/{model}")
    assert reply.get("text") == text, reply
    assert reply["pieces"] > 1


def test_it_calls_a_tool_and_brings_the_result(case: Case) -> None:
    text = '{"city":"text","days":0}' if _instructed(case) else "The tool said: sunny in text"
    assert case.do("tools", "scripted/judge") == {"text": text}


def test_it_leaves_in_mid_stream(case: Case) -> None:
    before = {row["id"] for row in case.gateway.store.runs()}
    model, text = ("judge-5000ms", '{"city":null,"days":null}') if _instructed(case) else ("slow-3000x20ms", "alpha")
    assert case.do("abort", f"scripted/{model}") == {"text": text}
    [row] = case.ended(before)
    assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
    assert row["abort_phase"] == "streaming"


def test_it_loses_its_patience(case: Case) -> None:
    if "timeout" in case.client.lacks:
        pytest.skip("this client has no time-out")
    before = {row["id"] for row in case.gateway.store.runs()}
    reply = case.do("timeout", "scripted/judge-60000ms")
    assert "error" in reply
    for row in case.ended(before):
        assert (row["status"], row["abort_cause"], row["abort_outcome"]) == ("aborted", "client_disconnect", "stopped")
        assert row["abort_phase"] == "before_output"


@pytest.mark.needs("node")
@pytest.mark.compliance("OpenAI Responses", "response.reasoning_text.delta")
def test_the_official_helper_for_streams_follows_raw_reasoning(
    gateway: Gateway, drivers: dict[Language, Driver]
) -> None:
    official = Case(Client("by_openai", "node"), "responses", drivers["node"], gateway)
    reply = official.do("reasoned", "scripted/judge")
    assert reply["heard"] == reply["text"] != "", reply
