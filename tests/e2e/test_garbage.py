"""What is done for a request is freed as soon as it is over: no cycle waits for the garbage collector.

A request makes some thousand objects. In cycles they would lie about by the ten thousand, and finding them again cost a
twentieth of all CPU time.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.bench.source import source
from tests.e2e.abort.test_records import open_run, run_ids
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Templates, wait_for
from tests.e2e.routes import CHAT, Route
from tests.e2e.socket_wire import SocketClient
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

REQUESTS = 10
TRIALS = 4
Ask = Callable[[Gateway], None]


@pytest.fixture(scope="module")
def gateway(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose collector does not run by itself, with an upstream."""
    folder = tmp_path_factory.mktemp("garbage")
    store = templates("sqlite").copy(folder)
    with source() as port:
        options = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "upstream-secret"}
        upstream = {"BACKEND": "gateway_project.agents.openai.OpenAIAgent", "OPTIONS": options}
        config = CONFIG | {"AGENTS": CONFIG["AGENTS"] | {"openai": upstream}, "CONTENT": "full"}
        server = Gateway(store, config, folder, "tests.e2e.garbage:application").start()
        yield server
        server.stop()


def garbage_of(gateway: Gateway, request: Ask) -> float:
    """Objects for each of several requests, once everything is there that is made but once.

    The least of several trials: what the process does now and then by Django's ORM, such as looking for wishes to
    abort, leaves some too.
    """
    for _ in range(5):
        request(gateway)
    return min(_garbage_of_some(gateway, request) for _ in range(TRIALS))


def _garbage_of_some(gateway: Gateway, request: Ask) -> float:
    number(gateway, "/garbage")
    for _ in range(REQUESTS):
        request(gateway)
    # What is still held by something cannot be garbage. All that is left is the connection that asks.
    wait_for(lambda: number(gateway, "/connections") <= 1, what="the end of all connections")
    return number(gateway, "/garbage") / REQUESTS


def number(gateway: Gateway, path: str) -> int:
    """What `tests.e2e.garbage` counts."""
    return int(ask(gateway.port, "GET", path, key=None).body)


@pytest.mark.parametrize("model", ["scripted/count-3", "openai/burst-20x5", "nonsense"])
def test_an_answer_leaves_none(gateway: Gateway, route: Route, stream: bool, model: str) -> None:
    def request(gateway: Gateway) -> None:
        ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body(model, stream=stream))

    assert garbage_of(gateway, request) < 1


def test_a_request_that_cannot_be_read_leaves_none(gateway: Gateway) -> None:
    def request(gateway: Gateway) -> None:
        ask(gateway.port, "POST", CHAT.path, key=gateway.key, body=b"{")

    assert garbage_of(gateway, request) < 1


@pytest.mark.parametrize(
    ("model", "most"),
    # Which hangs up: asyncio's transport of a connection knows itself, with ten objects in all.
    [("scripted/think-60000ms", 1), ("openai/paced-2000x20ms", 11)],
)
def test_a_client_that_leaves_leaves_none(gateway: Gateway, route: Route, model: str, most: int) -> None:
    def request(gateway: Gateway) -> None:
        seen = run_ids(gateway)
        client = Client(gateway.port)
        client.send("POST", route.path, key=gateway.key, body=route.body(model, stream=True))
        run = open_run(gateway, seen)
        client.leave("fin")
        gateway.store.ended(run["id"])

    assert garbage_of(gateway, request) < most


def test_a_websocket_leaves_none(gateway: Gateway) -> None:
    def request(gateway: Gateway) -> None:
        client = SocketClient(gateway.port, key=gateway.key)
        client.create("scripted/count-3")
        assert client.events()
        client.leave_socket("close")

    assert garbage_of(gateway, request) < 1
