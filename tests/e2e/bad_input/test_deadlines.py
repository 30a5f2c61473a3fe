"""A request that does not come to its end is given up, whatever drips in."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bad_input.raw import Case, build, check_envelope, check_good, good_body
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Server, Templates
from tests.e2e.routes import CHAT, Route
from tests.e2e.wire import Client, Reply

pytestmark = pytest.mark.e2e

SECONDS = 0.6


def start(server: Server, templates: Templates, folder: Path) -> Gateway:
    return Gateway(
        templates("sqlite").copy(folder), CONFIG | {"LIMITS": {"BODY_SECONDS": SECONDS}}, folder, server=server
    ).start()


@pytest.fixture(scope="module")
def hasty(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A daphne that waits for no request longer than `SECONDS`."""
    gateway = start("daphne", templates, tmp_path_factory.mktemp("hasty"))
    yield gateway
    gateway.stop()


def drip(client: Client, rest: bytes) -> None:
    """Send a byte every so often, until there is an answer."""
    client.socket.settimeout(0.05)
    for byte in rest:
        client.socket.sendall(bytes([byte]))
        try:
            client.buffer += client.socket.recv(65536)
            break
        except TimeoutError:
            continue
    client.socket.settimeout(60)


def given_up(client: Client, begun: float) -> Reply:
    """It is answered in time, and closed."""
    reply = client.read_reply()
    assert SECONDS * 0.9 < time.monotonic() - begun < SECONDS + 20
    assert (reply.status, check_envelope(reply)["code"]) == (408, "request_timeout")
    assert client.is_closed_by_server()
    return reply


SLOW = {
    "a body": Case("", ()),
    "a body in chunks": Case("", (), add=(b"Transfer-Encoding: chunked",), length=False, body=b"1\r\n{\r\n" * 500),
    "a body of 100 bytes that never come": Case("", (), length=False, add=(b"Content-Length: 100",), body=b""),
    "after 100 Continue": Case(
        "", (), length=False, add=(b"Content-Length: 100", b"Expect: 100-continue"), body=b""
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOW.values(), ids=SLOW)
def test_a_body_that_drips_in(hasty: Gateway, route: Route, case: Case) -> None:
    head, _, body = build(case, route, hasty.key).partition(b"\r\n\r\n")
    runs = len(hasty.store.runs())
    client = Client(hasty.port)
    begun = time.monotonic()
    client.socket.sendall(head + b"\r\n\r\n")
    drip(client, body)
    given_up(client, begun)
    check_good(Client(hasty.port), hasty, route)
    assert len(hasty.store.runs()) == runs + 1


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_headers_that_drip_in(hasty: Gateway, route: Route, share: float) -> None:
    sent = build(Case("", (), add=tuple(b"X-%d: a" % n for n in range(20))), route, hasty.key)
    client = Client(hasty.port)
    begun = time.monotonic()
    client.socket.sendall(sent[: int(len(sent) * share)])
    drip(client, sent[int(len(sent) * share) :])
    given_up(client, begun)


def test_the_second_request_of_a_connection_has_a_deadline_of_its_own(hasty: Gateway, route: Route) -> None:
    client = Client(hasty.port)
    check_good(client, hasty, route)
    time.sleep(SECONDS * 1.5)  # An idle connection is no slow request.
    check_good(client, hasty, route)
    begun = time.monotonic()
    client.socket.sendall(build(Case("", ()), route, hasty.key)[:-5])
    given_up(client, begun)


def test_a_run_may_take_longer_than_its_request(hasty: Gateway, route: Route) -> None:
    client = Client(hasty.port)
    client.send("POST", route.path, key=hasty.key, body=route.body("scripted/think-1200ms", stream=False))
    assert client.read_reply().status == 200


def test_a_stream_of_a_response_in_the_background_may_too(hasty: Gateway) -> None:
    body = {"model": "scripted/slow-4x400ms", "input": "x", "background": True, "stream": True}
    client = Client(hasty.port)
    client.send("POST", "/v1/responses", key=hasty.key, body=body)
    reply = client.read_reply()
    assert reply.status == 200
    assert reply.events[-2]["type"] == "response.completed"


def test_a_connection_without_a_request_is_closed_without_a_word(hasty: Gateway) -> None:
    client = Client(hasty.port)
    client.socket.sendall(b"\r\n")
    assert client.is_closed_by_server()


def test_a_shops_own_uploads_may_take_their_time(hasty: Gateway) -> None:
    client = Client(hasty.port)
    head = Case("", (), line="POST /api/runs/ HTTP/1.1", length=False, add=(b"Content-Length: 2",), body=b"")
    client.socket.sendall(build(head, CHAT, hasty.key))
    time.sleep(SECONDS * 1.5)
    client.socket.sendall(b"{}")
    assert client.read_reply().status not in (408, 413)


def test_who_goes_on_sending_after_a_refusal_is_cut_off(hasty: Gateway, route: Route) -> None:
    client = Client(hasty.port)
    client.socket.sendall(
        build(Case("", (), length=False, add=(b"Content-Length: 99999999",), body=b""), route, hasty.key)
    )
    assert client.read_reply().status == 413
    begun = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - begun < 30:
            client.socket.sendall(b" " * 65536)
            time.sleep(0.02)


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_under_other_servers_a_body_has_its_deadline_too(
    server: Server, templates: Templates, tmp_path: Path, route: Route
) -> None:
    gateway = start(server, templates, tmp_path)
    try:
        body = good_body(route)
        head = Case("", (), length=False, add=(b"Content-Length: %d" % len(body),), body=body[:5])
        client = Client(gateway.port)
        begun = time.monotonic()
        client.socket.sendall(build(head, route, gateway.key))
        drip(client, body[5:])
        reply = given_up(client, begun)
        row = gateway.store.ended(reply.headers["x-request-id"])
        assert (row["status"], row["http_status"], row["error_code"]) == ("rejected", 408, "request_timeout")
        check_good(Client(gateway.port), gateway, route)
    finally:
        gateway.stop()
