"""A peer that vanishes without a packet (facts 9 and 14): power loss, a cut line, a dropped link.

The servers run in a network namespace of their own, the clients here; a pair of virtual interfaces joins them.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.abort import test_records as matrix
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Row, Store, wait_for
from tests.e2e.platform.test_nginx import documented, nginx_command, stop_nginx
from tests.e2e.routes import Route
from tests.e2e.wire import Client

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("netns"),
    pytest.mark.parametrize("template", ["sqlite"], indirect=True, scope="session"),
]

KEEPALIVE_SECONDS = 4
NOTICED_WITHIN = 40
"""Generous, for a busy machine; without the remedies the kernel takes a quarter of an hour, or forever."""

StartServer = Callable[[float], Gateway]
Vanish = Callable[[], None]


@dataclass(frozen=True)
class Line:
    """What joins this side, where the clients are, to the namespace of the servers."""

    name: str
    here: str
    there: str

    @property
    def far(self) -> tuple[str, ...]:
        """What runs a command in the namespace."""
        return ("ip", "netns", "exec", self.name)

    def lay(self) -> None:
        """Make it."""
        ip("netns", "add", self.name)
        ip("link", "add", f"{self.name}h", "type", "veth", "peer", "name", f"{self.name}t", "netns", self.name)
        ip("address", "add", f"{self.here}/30", "dev", f"{self.name}h")
        ip("-netns", self.name, "address", "add", f"{self.there}/30", "dev", f"{self.name}t")
        ip("-netns", self.name, "link", "set", "lo", "up")
        ip("-netns", self.name, "link", "set", f"{self.name}t", "up")
        ip("link", "set", f"{self.name}h", "up")

    def remove(self) -> None:
        """Remove it; the interfaces go with their namespace."""
        ip("netns", "delete", self.name)

    @contextmanager
    def drop_the_link(self) -> Iterator[None]:
        """The servers lose the carrier, too."""
        ip("link", "set", f"{self.name}h", "down")
        yield
        ip("link", "set", f"{self.name}h", "up")

    @contextmanager
    def lose_the_address(self) -> Iterator[None]:
        """The link stays, but nobody has the clients' address: their end was switched off behind a switch."""
        ip("address", "delete", f"{self.here}/30", "dev", f"{self.name}h")
        yield
        ip("address", "add", f"{self.here}/30", "dev", f"{self.name}h")

    @contextmanager
    def few_retries(self) -> Iterator[None]:
        """The servers' kernel gives up soon what is not acknowledged: for programs that set no user timeout."""
        setting = "/proc/sys/net/ipv4/tcp_retries2"
        before = ip("netns", "exec", self.name, "cat", setting)
        ip("netns", "exec", self.name, "sh", "-c", f"echo 3 >{setting}")
        try:
            yield
        finally:
            ip("netns", "exec", self.name, "sh", "-c", f"echo {before.strip()} >{setting}")


def ip(*arguments: str) -> str:
    """Run iproute2 and return what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    """A line, in a subnet for benchmarks (RFC 2544) that nobody else is likely to use now."""
    number = int.from_bytes(os.urandom(2)) * 2 & 0x1FFFC
    subnet = f"198.{18 + (number >> 16)}.{number >> 8 & 255}"
    line = Line(f"gw{os.urandom(4).hex()}", f"{subnet}.{(number & 255) + 1}", f"{subnet}.{(number & 255) + 2}")
    try:
        line.lay()
        yield line
    finally:
        line.remove()


@pytest.fixture(scope="module")
def start_server(line: Line, template: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts gateways at the other end."""
    made: list[Gateway] = []

    def start(keepalive_seconds: float) -> Gateway:
        folder: Path = tmp_path_factory.mktemp("gateway")
        config = CONFIG | {"KEEPALIVE_SECONDS": keepalive_seconds, "HEARTBEAT_SECONDS": 1}
        server = Gateway(template.copy(folder), config, folder, address=line.there, command_prefix=line.far)
        made.append(server)
        return server.start()

    yield start
    for server in made:
        server.stop()
        server.store.drop()


@pytest.fixture(scope="module")
def watchful(start_server: StartServer) -> Gateway:
    """A gateway that looks for vanished peers."""
    return start_server(KEEPALIVE_SECONDS)


@pytest.fixture(scope="module")
def careless(start_server: StartServer) -> Gateway:
    """A gateway that does not."""
    return start_server(0)


def begin(gateway: Gateway, route: Route, model: str, *, stream: bool) -> tuple[Client, Row]:
    """A run that has begun, and its client."""
    seen = matrix.run_ids(gateway)
    client = Client(gateway.port, host=gateway.address)
    client.send("POST", route.path, key=gateway.key, body=route.body(model, stream=stream))
    return client, matrix.open_run(gateway, seen)


@pytest.fixture
def vanish(request: pytest.FixtureRequest, line: Line) -> Iterator[Vanish]:
    """Cuts the clients off, until the end of the test."""
    way = getattr(request, "param", Line.lose_the_address)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(way(line))


@pytest.fixture
def behind_nginx(line: Line, watchful: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """`watchful` behind an nginx of its own side, with the port of that, which probes its clients."""
    behind = replace(watchful, port=8080)
    listen = f"{line.there}:{behind.port} so_keepalive=2s:1s:2"
    command = nginx_command(tmp_path, listen=listen, location=documented(), upstream=watchful)
    process = subprocess.Popen([*line.far, *command])
    try:
        wait_for((tmp_path / "nginx.pid").exists, what="nginx's start")
        yield behind
    finally:
        stop_nginx(process)


@pytest.mark.parametrize("vanish", [Line.drop_the_link, Line.lose_the_address], indirect=True)
def test_it_is_noticed_while_both_sides_wait_in_silence(watchful: Gateway, route: Route, vanish: Vanish) -> None:
    _, run = begin(watchful, route, "scripted/think-60000ms", stream=False)
    vanish()
    matrix.assert_aborted(watchful.store.ended(run["id"], within=NOTICED_WITHIN), "before_output")


def test_it_is_noticed_in_a_stream_that_says_nothing_but_heartbeats(
    watchful: Gateway, route: Route, vanish: Vanish
) -> None:
    client, run = begin(watchful, route, "scripted/think-60000ms", stream=True)
    client.read_until(b": heartbeat")
    vanish()
    matrix.assert_aborted(watchful.store.ended(run["id"], within=NOTICED_WITHIN), "before_output")


def test_it_is_noticed_in_a_stream_that_goes_on(watchful: Gateway, route: Route, vanish: Vanish) -> None:
    client, run = begin(watchful, route, "scripted/slow-3000x20ms", stream=True)
    client.read_until(b"bravo")
    vanish()
    matrix.assert_aborted(watchful.store.ended(run["id"], within=NOTICED_WITHIN), "streaming")


def test_without_keepalive_it_is_not_noticed(
    watchful: Gateway, careless: Gateway, route: Route, vanish: Vanish
) -> None:
    _, missed = begin(careless, route, "scripted/think-60000ms", stream=False)
    _, noticed = begin(watchful, route, "scripted/think-60000ms", stream=False)
    vanish()
    watchful.store.ended(noticed["id"], within=NOTICED_WITHIN)
    row = careless.store.run(missed["id"])
    assert row is not None
    assert row["status"] == "running"


def test_clients_that_only_wait_are_left_alone(watchful: Gateway, route: Route) -> None:
    model = f"scripted/think-{2 * KEEPALIVE_SECONDS}000ms"
    waiting = [begin(watchful, route, model, stream=stream) for stream in (True, False)]
    for client, run in waiting:
        assert client.read_reply().status == 200
        row = watchful.store.ended(run["id"])
        assert (row["status"], row["delivered"]) == ("completed", True)


@pytest.mark.needs("nginx")
def test_nginx_notices_it_for_us_while_both_sides_wait_in_silence(
    behind_nginx: Gateway, route: Route, vanish: Vanish
) -> None:
    _, run = begin(behind_nginx, route, "scripted/think-60000ms", stream=False)
    vanish()
    matrix.assert_aborted(behind_nginx.store.ended(run["id"], within=NOTICED_WITHIN), "before_output")


@pytest.mark.needs("nginx")
def test_nginx_notices_it_for_us_in_a_stream_when_the_kernel_gives_up_soon(
    behind_nginx: Gateway, line: Line, route: Route, vanish: Vanish
) -> None:
    client, run = begin(behind_nginx, route, "scripted/slow-3000x20ms", stream=True)
    client.read_until(b"bravo")
    with line.few_retries():
        vanish()
        matrix.assert_aborted(behind_nginx.store.ended(run["id"], within=NOTICED_WITHIN), "streaming")
