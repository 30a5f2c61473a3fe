"""nginx in front: with its defaults, and with the settings of the guide, taken from the guide."""

import os
import re
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests import docs
from tests.e2e.abort import test_records as matrix
from tests.e2e.config import CONFIG
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, Row, Store
from tests.e2e.platform.test_facts import MIB, resident_bytes
from tests.e2e.routes import Route
from tests.e2e.wire import Client, Leaving, Reply, ask

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("nginx"),
    pytest.mark.parametrize("template", ["sqlite"], indirect=True, scope="session"),
]

DEFAULTS = "location / { proxy_pass http://127.0.0.1:8000; }"

CONFIGURATION = """
user root;
worker_processes 1;
daemon off;
pid nginx.pid;
events {{}}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    # As in Debian's nginx.conf:
    sendfile on;
    tcp_nopush on;
    gzip on;

    server {{
        listen {listen};
        {location}
    }}
}}
"""

Front = Callable[[Gateway, str], Gateway]


def documented() -> str:
    """The location block of the guide."""
    section = (docs.DOCS / "operating.md").read_text().partition("## Behind nginx\n")[2].partition("\n## ")[0]
    [block] = re.findall(r"^    location .*?^    \}$", section, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(block)


def nginx_command(folder: Path, *, listen: str, location: str, upstream: Gateway) -> list[str]:
    """Write a configuration with everything in `folder`, and return the command that runs it in the foreground."""
    program = shutil.which("nginx")
    assert program
    assert "127.0.0.1:8000;" in location
    location = location.replace("127.0.0.1:8000;", f"{upstream.address}:{upstream.port};")
    (folder / "nginx.conf").write_text(CONFIGURATION.format(listen=listen, location=location))
    return [program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]


def start_nginx(gateway: Gateway, location: str, folder: Path) -> "tuple[subprocess.Popen[bytes], Gateway]":
    """Start nginx in front of `gateway`; return its process, and the gateway with nginx's port.

    nginx inherits its listening socket, as at an upgrade of its binary: so nobody can take the port before it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, fd = listening.getsockname()[1], listening.fileno()
        command = nginx_command(folder, listen=f"127.0.0.1:{port}", location=location, upstream=gateway)
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "NGINX": f"{fd};"}, pass_fds=[fd])
    return process, replace(gateway, port=port)


def stop_nginx(process: "subprocess.Popen[bytes]") -> None:
    """End the master, which ends its worker."""
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="module")
def backend(template: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that believes its proxy."""
    folder = tmp_path_factory.mktemp("gateway")
    server = Gateway(template.copy(folder), CONFIG | {"TRUSTED_PROXIES": ["127.0.0.1"]}, folder).start()
    yield server
    server.stop()
    server.store.drop()


@pytest.fixture(scope="module")
def bare(backend: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """That gateway behind an nginx with its defaults."""
    process, fronted = start_nginx(backend, DEFAULTS, tmp_path_factory.mktemp("nginx"))
    yield fronted
    stop_nginx(process)


@pytest.fixture(scope="module")
def guided(backend: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """That gateway behind an nginx that is set up as the guide says."""
    process, fronted = start_nginx(backend, documented(), tmp_path_factory.mktemp("nginx"))
    yield fronted
    stop_nginx(process)


@pytest.fixture(params=["bare", "guided"])
def fronted(request: pytest.FixtureRequest, backend: Gateway) -> Gateway:
    """Either of them in front of `backend`."""
    found: Gateway = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Puts an nginx of the test's own in front of a gateway."""
    with ExitStack() as stack:

        def start(gateway: Gateway, location: str) -> Gateway:
            folder = tmp_path / f"nginx{gateway.port}"
            folder.mkdir()
            process, fronted = start_nginx(gateway, location, folder)
            stack.callback(stop_nginx, process)
            return fronted

        yield start


NEIGHBOUR = "127.0.0.2"
"""A client's address that is not nginx's."""


def test_the_answer_comes_through_whole(fronted: Gateway, route: Route) -> None:
    reply = ask(
        fronted.port, "POST", route.path, key=fronted.key, body=route.body("scripted/count-20000", stream=False)
    )
    assert reply.status == 200
    assert len(route.text(reply.json).split()) == 20000
    assert_completed(fronted, reply)


def test_the_stream_comes_through_whole(fronted: Gateway, route: Route) -> None:
    reply = ask(fronted.port, "POST", route.path, key=fronted.key, body=route.body("scripted/count-5000", stream=True))
    assert reply.status == 200
    assert len(route.streamed_text(reply.events).split()) == 5000
    assert reply.events[-1] == "[DONE]"
    row = assert_completed(fronted, reply)
    assert row["bytes_sent"] == len(reply.body)


def test_connections_to_nginx_are_used_again(fronted: Gateway, route: Route, stream: bool) -> None:
    client = Client(fronted.port)
    for _ in range(5):
        client.send("POST", route.path, key=fronted.key, body=route.body("scripted/count-5", stream=stream))
        assert_completed(fronted, client.read_reply())


def test_an_event_comes_through_although_nothing_follows_it(fronted: Gateway, route: Route) -> None:
    seen = matrix.run_ids(fronted)
    client = Client(fronted.port)
    # It says one word and then nothing until it is cancelled: a proxy that buffers would keep that to itself.
    client.send("POST", route.path, key=fronted.key, body=route.body("scripted/stubborn-0ms", stream=True))
    client.read_until(b"never")
    run = matrix.open_run(fronted, seen)
    client.leave("fin")
    matrix.assert_aborted(fronted.store.ended(run["id"]), "streaming")


@pytest.mark.parametrize("leaving", matrix.WAYS)
def test_leaving_before_the_first_output_stops_the_agent(
    fronted: Gateway, route: Route, stream: bool, leaving: Leaving
) -> None:
    matrix.test_leaving_before_the_first_output_stops_the_agent(fronted, route, stream, leaving)


@pytest.mark.parametrize("leaving", matrix.WAYS)
def test_leaving_in_the_middle_of_the_output_stops_the_agent(
    fronted: Gateway, route: Route, stream: bool, leaving: Leaving
) -> None:
    matrix.test_leaving_in_the_middle_of_the_output_stops_the_agent(fronted, route, stream, leaving)


@pytest.mark.parametrize("leaving", matrix.WAYS)
def test_leaving_while_queued_never_reaches_the_agent(
    fronted: Gateway, route: Route, stream: bool, leaving: Leaving
) -> None:
    matrix.test_leaving_while_queued_never_reaches_the_agent(fronted, route, stream, leaving)


@pytest.mark.parametrize("leaving", ["fin", "rst"])
def test_pipelined_bytes_do_not_hide_the_disconnect(
    fronted: Gateway, route: Route, stream: bool, leaving: Leaving
) -> None:
    seen = matrix.run_ids(fronted)
    client = Client(fronted.port)
    client.send("POST", route.path, key=fronted.key, body=route.body("scripted/think-60000ms", stream=stream))
    run = matrix.open_run(fronted, seen)
    client.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Padding: " + b"x" * 70_000)
    client.leave(leaving)
    matrix.assert_aborted(fronted.store.ended(run["id"]), "before_output")


def test_nothing_is_logged_as_an_error_when_clients_leave(fronted: Gateway, route: Route, stream: bool) -> None:
    matrix.test_nothing_is_logged_as_an_error_when_clients_leave(fronted, route, stream)


def test_a_reader_that_never_reads_holds_the_agent_back(fronted: Gateway, route: Route) -> None:
    seen = matrix.run_ids(fronted)
    before = resident_bytes(fronted.pid)
    reader = Client(fronted.port)
    reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    # About 200 MB, if nobody held it back.
    reader.send("POST", route.path, key=fronted.key, body=route.body("scripted/count-900000", stream=True))
    reader.read_until(b"charlie")
    run = matrix.open_run(fronted, seen)
    for _ in range(10):
        assert ask(fronted.port, "GET", "/v1/models", key=fronted.key).status == 200
    assert resident_bytes(fronted.pid) - before < 16 * MIB
    reader.leave("rst")
    row = fronted.store.ended(run["id"])
    matrix.assert_aborted(row, "streaming")
    assert row["bytes_sent"] < 16 * MIB


def test_the_record_has_the_clients_address_and_not_the_one_it_makes_up(guided: Gateway, route: Route) -> None:
    for made_up in ({}, {"X-Forwarded-For": "192.0.2.1"}):
        assert recorded_address(guided, route, made_up) == NEIGHBOUR


def test_without_the_settings_of_the_guide_the_record_has_any_address_but_the_clients(
    bare: Gateway, route: Route
) -> None:
    assert recorded_address(bare, route, {}) == "127.0.0.1"
    assert recorded_address(bare, route, {"X-Forwarded-For": "192.0.2.1"}) == "192.0.2.1"


def test_the_host_that_the_client_names_is_checked(guided: Gateway, bare: Gateway, route: Route) -> None:
    body = route.body("scripted/echo", stream=False)
    evil = {"Host": "evil.example"}
    reply = ask(guided.port, "POST", route.path, key=guided.key, body=body, headers=evil)
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_host")
    assert ask(bare.port, "POST", route.path, key=bare.key, body=body, headers=evil).status == 200


def test_a_large_request_comes_through(guided: Gateway, bare: Gateway, route: Route) -> None:
    prompt = "x" * 9 * MIB
    body = route.body("scripted/echo", stream=False, prompt=prompt)
    reply = ask(guided.port, "POST", route.path, key=guided.key, body=body)
    assert route.text(reply.json) == prompt
    refused = ask(bare.port, "POST", route.path, key=bare.key, body=body)
    assert (refused.status, refused.headers["content-type"]) == (413, "text/html")


def test_too_large_a_request_gets_our_own_answer(guided: Gateway, route: Route) -> None:
    body = route.body("scripted/echo", stream=False, prompt="x" * 11 * MIB)
    reply = ask(guided.port, "POST", route.path, key=guided.key, body=body)
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("settings", ["bare", "guided"])
def test_a_stream_whose_process_dies_is_seen_to_break_off(
    make_gateway: MakeGateway, front: Front, route: Route, settings: str
) -> None:
    gateway = make_gateway()
    fronted = front(gateway, DEFAULTS if settings == "bare" else documented())
    client = Client(fronted.port)
    client.send("POST", route.path, key=fronted.key, body=route.body("scripted/stubborn-0ms", stream=True))
    head = client.read_head()
    assert head.headers["transfer-encoding"] == "chunked"
    client.read_until(b"never")
    gateway.stop()
    if settings == "bare":
        client.read_until(b"\r\n0\r\n\r\n")  # HTTP/1.0 knows no better: it looks like the end.
    else:
        with pytest.raises(EOFError):
            client.read_until(b"\r\n0\r\n\r\n")


def test_heartbeats_carry_a_stream_over_the_read_timeout_that_ends_a_silent_wait(
    make_gateway: MakeGateway, front: Front, route: Route
) -> None:
    impatient = documented().replace("proxy_read_timeout 700s", "proxy_read_timeout 3s")
    assert impatient != documented()
    fronted = front(make_gateway(HEARTBEAT_SECONDS=0.3), impatient)
    clients = [Client(fronted.port) for _ in range(2)]
    for client, stream in zip(clients, (True, False), strict=True):
        client.send("POST", route.path, key=fronted.key, body=route.body("scripted/think-6000ms", stream=stream))
    refused = clients[1].read_reply()
    assert refused.status == 504
    reply = clients[0].read_reply()
    assert route.streamed_text(reply.events) == "done"
    assert_completed(fronted, reply)
    [waited] = [row for row in fronted.store.runs() if not row["streaming"]]
    matrix.assert_aborted(fronted.store.ended(waited["id"]), "before_output")


def recorded_address(gateway: Gateway, route: Route, headers: dict[str, str]) -> str:
    """The client's address in the record of a request from `NEIGHBOUR`."""
    client = Client(gateway.port, source=NEIGHBOUR)
    body = route.body("scripted/echo", stream=False)
    client.send("POST", route.path, key=gateway.key, body=body, headers=headers)
    return str(assert_completed(gateway, client.read_reply())["client_address"])


def assert_completed(gateway: Gateway, reply: Reply) -> Row:
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["abort_cause"], row["delivered"]) == ("completed", "", True)
    return row
