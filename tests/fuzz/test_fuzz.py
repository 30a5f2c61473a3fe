"""Never a 5xx, never a reply that breaks the protocol's own file, never a wait.

``GATEWAY_FUZZ=5000`` tries so many requests a test, at random, instead of the same few each time.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import spec
from tests.e2e.bad_input.raw import PATIENCE_SECONDS, check_envelope
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT, RESPONSES, Route
from tests.e2e.wire import Client, Reply
from tests.fuzz.strategies import ANYTHING, spoilt, valid

pytestmark = pytest.mark.e2e

LONG = int(os.environ.get("GATEWAY_FUZZ", "0"))
BOUNDED = settings(
    max_examples=LONG or 40,
    derandomize=not LONG,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)

MODELS = st.sampled_from(["scripted/echo", "scripted/count-3", "scripted/tool", "scripted", "gpt-4o"])


def requests(document: str, schema: str) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies for an endpoint, most of them for a model that is there."""
    bodies = valid(document, {"$ref": f"#/components/schemas/{schema}"})
    return st.builds(lambda body, model: {**body, "model": model}, bodies, MODELS)


REQUESTS = {
    CHAT: requests(spec.OPENAI_CHAT, "CreateChatCompletionRequest"),
    RESPONSES: requests(spec.OPEN_RESPONSES, "CreateResponseBody"),
}
ANSWERS = {
    CHAT: (spec.OPENAI_CHAT, "CreateChatCompletionResponse"),
    RESPONSES: (spec.OPEN_RESPONSES, "ResponseResource"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A daphne that must stay up."""
    folder = tmp_path_factory.mktemp("fuzz")
    store = Store("sqlite", folder)
    store.create()
    gateway = Gateway(store, CONFIG, folder).start()
    yield gateway
    assert gateway.process is not None
    assert gateway.process.poll() is None
    gateway.stop()
    assert "Traceback" not in gateway.log


def ask_in_time(server: Gateway, route: Route, body: Any) -> Reply:
    """Send a body; the reply comes in time."""
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    try:
        client.send("POST", route.path, key=server.key, body=body)
        return client.read_reply()
    finally:
        client.close()
        Client.opened.remove(client)


def hold(server: Gateway, route: Route, body: Any) -> int:
    """Hold the reply to `body` against the protocol. Returns its status."""
    reply = ask_in_time(server, route, body)
    if reply.status != 200:
        check_envelope(reply)
    elif reply.headers["content-type"] == "application/json":
        assert spec.faults(*ANSWERS[route], reply.json) == []
    else:
        assert reply.events[-1] == "[DONE]"
        if route is CHAT:
            chunks = (event for event in reply.events[:-1] if "error" not in event)
            faults = [spec.faults(spec.OPENAI_CHAT, "CreateChatCompletionStreamResponse", chunk) for chunk in chunks]
            assert not any(faults), faults
        else:
            last = reply.events[-2]
            assert spec.faults(*ANSWERS[route], last["response"]) == []
    return reply.status


@pytest.mark.parametrize("route", [CHAT, RESPONSES], ids=lambda route: route.name)
def test_requests_by_the_schema(server: Gateway, route: Route) -> None:
    statuses: list[int] = []

    @BOUNDED
    @given(REQUESTS[route])
    def run(body: Any) -> None:
        statuses.append(hold(server, route, body))

    run()
    assert 400 in statuses


@pytest.mark.parametrize("route", [CHAT, RESPONSES], ids=lambda route: route.name)
def test_small_changes_to_a_good_request(server: Gateway, route: Route) -> None:
    statuses: list[int] = []
    function: dict[str, Any] = {"name": "f", "parameters": {"type": "object"}}
    tool = {"type": "function"} | ({"function": function} if route is CHAT else function)
    more: Any = {
        "tools": [tool],
        "metadata": {"a": "b"},
        "temperature": 1,
        "tool_choice": "auto",
        "user": "u",
        "top_p": 0.5,
    }
    good = route.body("scripted/tool", stream=False, **more)

    @BOUNDED
    @given(spoilt(st.just(good)))
    def run(body: Any) -> None:
        statuses.append(hold(server, route, body))

    run()
    assert {200, 400} <= set(statuses)


@pytest.mark.parametrize("route", [CHAT, RESPONSES], ids=lambda route: route.name)
def test_requests_spoilt(server: Gateway, route: Route) -> None:
    @BOUNDED
    @given(spoilt(REQUESTS[route]) | ANYTHING)
    def run(body: Any) -> None:
        hold(server, route, json.dumps(body).encode())

    run()


@pytest.mark.parametrize("route", [CHAT, RESPONSES], ids=lambda route: route.name)
def test_bytes_cut_and_changed(server: Gateway, route: Route) -> None:
    good = json.dumps(route.body("scripted/echo", stream=False, user="\U0001f600", seed=12345)).encode()
    places = st.integers(0, len(good))

    @BOUNDED
    @given(places, places, st.binary(max_size=4) | st.sampled_from([b"1e999", b"\\ud800", b"[[[[", b"\xef\xbb\xbf"]))
    def run(start: int, end: int, put: bytes) -> None:
        hold(server, route, good[:start] + put + good[min(start + end % 9, len(good)) :])

    begun = time.monotonic()
    run()
    assert LONG or time.monotonic() - begun < 60
