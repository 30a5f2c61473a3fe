"""What is added to daphne, as far as it shows without a connection. The rest is in the end-to-end tests."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import daphne
import daphne.cli
import daphne.http_protocol
import daphne.server
import pytest
import twisted
from daphne.http_protocol import HTTPFactory
from daphne.management.commands.runserver import Command
from daphne.ws_protocol import WebSocketFactory
from twisted.web import http

from gateway_project.transport.servers import daphne as remedy
from gateway_project.transport.servers.daphne_socket import GatewaySocketFactory

TCP_OPTIONS = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def options(on: socket.socket) -> dict[str, int]:
    """The options for vanished peers that a socket has."""
    found = {name: on.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in TCP_OPTIONS}
    return found | {"SO_KEEPALIVE": on.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="options of Linux")
@pytest.mark.parametrize("seconds", [1, 2.5, 6, 10, 75, 600])
def test_a_vanished_peer_is_found_in_time_also_by_accepted_sockets(listening: socket.socket, seconds: float) -> None:
    remedy.watch_for_vanished_peers(listening, seconds)
    with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        found = options(accepted)
    assert found["SO_KEEPALIVE"] == 1
    assert found["TCP_USER_TIMEOUT"] == seconds * 1000
    assert min(found.values()) >= 1
    until_found = found["TCP_KEEPIDLE"] + found["TCP_KEEPCNT"] * found["TCP_KEEPINTVL"]
    assert until_found <= max(seconds, 4), "the kernel counts in whole seconds: one idle, three probes"
    assert until_found >= seconds * 0.6, "not so early that a short hiccup ends a run"


def test_zero_means_never(listening: socket.socket) -> None:
    before = options(listening)
    remedy.watch_for_vanished_peers(listening, 0)
    assert options(listening) == before
    assert before["SO_KEEPALIVE"] == 0


@pytest.fixture
def bare_daphne(monkeypatch: pytest.MonkeyPatch) -> None:
    """daphne as it is when nobody has changed it; put back afterwards as it was."""
    monkeypatch.setattr(daphne.cli.CommandLineInterface, "server_class", daphne.server.Server)
    monkeypatch.setattr(daphne.server, "HTTPFactory", HTTPFactory)
    monkeypatch.setattr(daphne.server, "WebSocketFactory", WebSocketFactory)
    monkeypatch.setattr(Command, "server_cls", daphne.server.Server)
    monkeypatch.setattr(daphne.http_protocol, "http", http)


def installed() -> tuple[object, ...]:
    """What the command, ``runserver`` and the server use."""
    factories = (daphne.server.HTTPFactory, daphne.server.WebSocketFactory)
    return (daphne.cli.CommandLineInterface.server_class, Command.server_cls, *factories)


@pytest.mark.usefixtures("bare_daphne")
@pytest.mark.parametrize("version", ["4.1.0", "4.1.2", "4.2.3"])
def test_a_version_that_is_known_is_mended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    monkeypatch.setattr(daphne, "__version__", version)
    remedy.install()
    remedy.install()
    servers = (remedy.GatewayServer, remedy.GatewayServer)
    assert installed() == (*servers, remedy.GatewayFactory, GatewaySocketFactory)
    assert caplog.records == []
    names = ("Request", "HTTPFactory", "H2_ENABLED")
    assert vars(daphne.http_protocol.http) == {name: getattr(http, name) for name in names}


@pytest.mark.usefixtures("bare_daphne")
@pytest.mark.parametrize(
    ("package", "version", "told"),
    [
        *((daphne, version, "daphne.unknown_version") for version in ("4.0.0", "4.3.0", "5.0.dev1")),
        *((twisted, version, "daphne.old_twisted") for version in ("22.4.0", "23.8.0", "24.3.0")),
    ],
)
def test_an_unknown_version_and_one_on_an_older_twisted_are_left_as_they_are_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, package: Any, version: str, told: str
) -> None:
    before = installed()
    monkeypatch.setattr(package, "__version__", version)
    remedy.install()
    assert installed() == before
    [warning] = caplog.records
    assert (warning.levelname, warning.message) == ("WARNING", told)
    assert vars(warning)["version"] == version


def test_the_versions_that_are_installed_are_known_ones() -> None:
    assert tuple(map(int, daphne.__version__.split(".")[:2])) in remedy.SUPPORTED
    assert tuple(map(int, twisted.__version__.split(".")[:2])) >= remedy.TWISTED_SINCE


@pytest.mark.parametrize(
    ("details", "failure", "stays"),
    [
        pytest.param({"disconnected": 1.0}, None, False, id="over"),
        pytest.param({}, None, True, id="not answered"),
        pytest.param({"disconnected": 1.0}, LookupError(), True, id="failed"),
    ],
)
async def test_a_request_that_is_over_is_forgotten_and_any_other_left_to_daphne(
    details: dict[str, Any], failure: Exception | None, stays: bool
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        if failure is not None:
            raise failure

    server = remedy.GatewayServer(application, endpoints=["tcp:0"])
    request: Any = type("Request", (), {"is_ours": True})()
    server.connections = {request: dict(details)}
    server.create_application(request, {}).put_nowait({"type": "http.disconnect"})
    task = server.connections[request]["application_instance"]
    await asyncio.wait([task])
    assert task.exception() is failure
    assert (request in server.connections) is stays
