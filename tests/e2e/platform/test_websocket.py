"""The WebSocket behind nginx as the guide sets it up, and peers that vanish without a packet (facts 9 and 14)."""

import pytest

from tests.e2e.abort import test_records as matrix
from tests.e2e.gateway import Gateway
from tests.e2e.platform.test_nginx import backend, guided
from tests.e2e.platform.test_vanished import NOTICED_WITHIN, Vanish, line, start_server, vanish, watchful
from tests.e2e.socket_wire import SocketClient, SocketLeaving

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("template", ["sqlite"], indirect=True, scope="session")]
__all__ = ["backend", "guided", "line", "start_server", "vanish", "watchful"]  # fixtures


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("leaving", ["close", "fin", "rst"])
def test_through_nginx_answers_come_and_leaving_stops_the_agent(guided: Gateway, leaving: SocketLeaving) -> None:
    seen = matrix.run_ids(guided)
    client = SocketClient(guided.port, key=guided.key)
    assert client.response.status_code == 101
    client.create("scripted/count-3")
    done = client.events()[-1]
    assert done["type"] == "response.completed"
    seen.add(guided.store.ended(done["response"]["id"].removeprefix("resp_"))["id"])
    client.create("scripted/slow-3000x20ms")
    client.read_text("bravo")
    run = matrix.open_run(guided, seen)
    client.leave_socket(leaving)
    matrix.assert_aborted(guided.store.ended(run["id"]), "streaming")


@pytest.mark.needs("nginx")
def test_through_nginx_a_refused_handshake_comes_whole(guided: Gateway) -> None:
    client = SocketClient(guided.port, key="nonsense")
    assert client.response.status_code == 401
    assert b"invalid_api_key" in bytes(client.response.body)


@pytest.mark.needs("netns")
@pytest.mark.parametrize(("model", "phase"), [("think-60000ms", "before_output"), ("slow-3000x20ms", "streaming")])
def test_a_peer_that_vanishes_is_noticed(watchful: Gateway, vanish: Vanish, model: str, phase: str) -> None:
    seen = matrix.run_ids(watchful)
    client = SocketClient(watchful.port, key=watchful.key, host=watchful.address)
    client.create(f"scripted/{model}")
    run = matrix.open_run(watchful, seen)
    vanish()
    matrix.assert_aborted(watchful.store.ended(run["id"], within=NOTICED_WITHIN), phase)
