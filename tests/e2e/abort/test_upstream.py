"""Through to an upstream: its connection is closed when the client leaves, a hundred times out of a hundred."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.abort.test_records import assert_aborted, let_the_server_turn
from tests.e2e.gateway import Gateway, Store, wait_for
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Leaving, ask
from tests.upstream import UpstreamProcess

pytestmark = pytest.mark.e2e

TRIALS = 100
"""A day's worth of every way in `CASES` for each route and mode."""
CASES: tuple[tuple[str, Leaving], ...] = (
    ("silent", "fin"),
    ("silent", "rst"),
    ("slow-5000x10ms", "fin"),
    ("slow-5000x10ms", "rst"),
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    with UpstreamProcess() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(template: Store, upstream: UpstreamProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server whose agent is the upstream."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    options = {"base_url": upstream.base_url, "api_key": "upstream-secret"}
    config = {
        "AGENTS": {"openai": {"BACKEND": "gateway_project.agents.openai.OpenAIAgent", "OPTIONS": options}},
        "DEFAULT_AGENT": "openai",
    }
    server = Gateway(template.copy(folder), config, folder).start()
    yield server
    server.stop()
    server.store.drop()


@pytest.mark.parametrize(("model", "leaving"), CASES)
def test_none_is_lost_and_none_is_double(
    gateway: Gateway, upstream: UpstreamProcess, route: Route, stream: bool, model: str, leaving: Leaving
) -> None:
    known = {row["id"] for row in gateway.store.runs()}
    asked = len(upstream.log())
    streams_now = stream and model != "silent"
    trials = TRIALS // 4
    for number in range(trials):
        client = Client(gateway.port)
        client.send("POST", route.path, key=gateway.key, body=route.body(model, stream=stream))
        entry = upstream.wait_for(lambda e, n=asked + number: e.number >= n and e.body_complete)  # type: ignore[misc]
        if streams_now:
            client.read_until(b"delta")
        elif model != "silent":
            upstream.wait_for(lambda e, n=entry.number: e.number == n and e.words_sent > 2)  # type: ignore[misc]
            let_the_server_turn(gateway)
        client.leave(leaving)
    wait_for(lambda: all(e.hung_up for e in upstream.log()[asked:]), what="the end of every upstream connection")
    log = upstream.log()[asked:]
    assert len(log) == trials
    assert not [entry for entry in log if entry.finished_at]
    rows = [row for row in gateway.store.runs() if row["id"] not in known]
    assert len(rows) == trials
    for row in rows:
        assert_aborted(gateway.store.ended(row["id"]), "streaming" if model != "silent" else "before_output")


def test_what_the_upstream_says_reaches_the_client(gateway: Gateway, route: Route, stream: bool) -> None:
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body("words-7", stream=stream))
    assert len((route.streamed_text(reply.events) if stream else route.text(reply.json)).split()) == 7
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["usage_source"], row["output_tokens"]) == ("completed", "reported", 7)


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("error-429", 429, None),
        ("error-401", 502, "upstream_authentication_error"),
        ("error-500", 502, None),
        ("error-503", None, None),
    ],
)
def test_the_upstreams_errors_are_a_status_before_the_first_byte(
    gateway: Gateway, route: Route, stream: bool, model: str, status: int | None, code: str | None
) -> None:
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body(model, stream=stream))
    assert reply.headers["content-type"] == "application/json"
    assert status is None or reply.status == status
    assert reply.status >= 429
    assert code is None or reply.json["error"]["code"] == code
    assert "upstream-secret" not in reply.body.decode()
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert row["status"] == "failed"
    assert "upstream-secret" not in str(row)
    assert "upstream-secret" not in gateway.log


def test_a_cut_upstream_is_an_error_and_no_end(gateway: Gateway, route: Route, stream: bool) -> None:
    reply = ask(gateway.port, "POST", route.path, key=gateway.key, body=route.body("cut-after-3", stream=stream))
    error = route.stream_error(reply.events) if stream else reply.json["error"]
    assert error is not None
    assert error["code"].startswith("upstream")
    assert gateway.store.ended(reply.headers["x-request-id"])["status"] == "failed"
