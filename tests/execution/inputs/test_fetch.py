"""Downloads: where they may lead, how large and slow they may be, and how they end."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway_project.execution.inputs import fetch as module
from gateway_project.execution.inputs.fetch import Fetched, fetch
from gateway_project.execution.inputs.problems import Budget, InputProblem
from gateway_project.input_settings import InputSettings
from tests.file_server import PNG, FileServer

MIB = 1024 * 1024
NO_ADDRESS = "no public address"


async def get(url: str, limits: InputSettings | None = None, total: int = 50 * MIB) -> Fetched:
    return await fetch(url, limits or InputSettings(), Budget(total))


async def refusal(url: str, limits: InputSettings | None = None, total: int = 50 * MIB) -> InputProblem:
    """Why `url` is not fetched."""
    async with asyncio.timeout(30):
        with pytest.raises(InputProblem) as caught:
            await get(url, limits, total)
    return caught.value


@pytest.fixture
def allowed(files: FileServer) -> InputSettings:
    """The operator has named the file server."""
    return InputSettings(PRIVATE_HOSTS=(files.host,))


class Names:
    """A resolver that answers as told, one answer after the other, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Sequence[Sequence[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        monkeypatch.setattr(module, "look_up", self._look_up)

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._answers.get(host.rstrip("."))
        if answers is None:
            raise socket.gaierror("unknown")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that a connection was tried to; none is made."""
    tried: list[Any] = []

    async def sock_connect(loop: Any, sock: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    return tried


# -- what comes --------------------------------------------------------------------------------------------


async def test_a_file_comes_with_what_is_said_of_it(files: FileServer, allowed: InputSettings) -> None:
    found = await get(files.url("/cat.png?secret=1"), allowed)
    assert found == Fetched(PNG, "image/png", "cat.png", "127.0.0.1", 0)
    headers = files.log[0].headers
    assert headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & headers.keys()


async def test_nothing_of_the_environment_is_used(
    files: FileServer, allowed: InputSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await get(files.url("/cat.png"), allowed)).data == PNG


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(files: FileServer, allowed: InputSettings, status: int) -> None:
    there = await get(files.url(f"/redirect?{status}&/cat.png"), allowed)
    assert (there.data, there.redirects) == (PNG, 1)


async def test_but_not_for_ever(files: FileServer, allowed: InputSettings) -> None:
    round_trip = "/redirect?302&" * 5 + "/cat.png"
    problem = await refusal(files.url(round_trip), replace(allowed, REDIRECTS=1))
    assert problem.kind == "download"
    assert len(files.log) == 2


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("/status/404", "download", "answered 404"),
        ("/status/500", "download", "answered 500"),
        ("/redirect?302&http://[", "url", "not valid"),
        ("/cut", "download", "broke off"),
        ("/gzip", "download", "compressed"),
        ("/lying", "size", "more than 20971520"),
    ],
)
async def test_bad_answers_are_told(files: FileServer, allowed: InputSettings, path: str, kind: str, told: str) -> None:
    problem = await refusal(files.url(path), allowed)
    assert problem.kind == kind
    assert told in str(problem)


async def test_nobody_there(files: FileServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    problem = await refusal(f"http://{host}/x", InputSettings(PRIVATE_HOSTS=(host,)))
    assert problem.kind == "download"
    assert "127.0.0.1" not in str(problem)


# -- bounds ------------------------------------------------------------------------------------------------


async def test_a_body_without_an_end_ends_at_the_limit(files: FileServer, allowed: InputSettings) -> None:
    problem = await refusal(files.url("/endless"), replace(allowed, PART_BYTES=MIB))
    assert (problem.kind, str(problem)) == ("size", f"The download has more than {MIB} bytes.")
    await asyncio.to_thread(files.visit, lambda visit: visit.closed)


async def test_the_limit_itself_is_not_too_much(files: FileServer, allowed: InputSettings) -> None:
    limits = replace(allowed, PART_BYTES=1000)
    assert len((await get(files.url("/many-1000"), limits, total=1000)).data) == 1000
    assert (await refusal(files.url("/many-1001"), limits)).kind == "size"
    assert (await refusal(files.url("/many-1000"), limits, total=999)).kind == "size"


@pytest.mark.parametrize("path", ["/slow", "/silent"])
async def test_a_slow_server_is_given_up(files: FileServer, allowed: InputSettings, path: str) -> None:
    problem = await refusal(files.url(path), replace(allowed, FETCH_SECONDS=0.5))
    assert (problem.kind, "too long" in str(problem)) == ("download", True)
    await asyncio.to_thread(files.visit, lambda visit: visit.closed)


async def test_so_is_one_that_cannot_be_connected_to(allowed: InputSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, slow_example=[["203.0.114.1"]])

    async def never(loop: Any, sock: socket.socket, address: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", never)
    assert (await refusal("http://slow.example/", replace(allowed, CONNECT_SECONDS=0.2))).kind == "download"


@pytest.mark.parametrize("path", ["/slow", "/silent", "/endless"])
async def test_a_cancelled_download_is_closed_at_once(files: FileServer, allowed: InputSettings, path: str) -> None:
    task = asyncio.ensure_future(get(files.url(path), replace(allowed, PART_BYTES=10**12, TOTAL_BYTES=10**12), 10**12))
    await asyncio.to_thread(files.visit, lambda visit: True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(files.visit, lambda visit: visit.closed)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_certificate_is_checked_though_the_address_is_given(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is `localhost`'s own."""
    with FileServer(tls=certificate) as server:
        host = f"{name}:{server.port}"
        limits = InputSettings(PRIVATE_HOSTS=(host,))
        assert (await refusal(f"https://{host}/cat.png", limits)).kind == "download"
        assert server.log == []
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
        if name == "localhost":
            assert (await get(f"https://{host}/cat.png", limits)).data == PNG
        else:
            assert (await refusal(f"https://{host}/cat.png", limits)).kind == "download"


async def test_a_cancelled_download_waits_for_no_goodbye(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    reading, told = asyncio.Event(), threading.Event()
    last_words: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        """Answer with a head, and then see what comes below TLS."""
        with context.wrap_socket(listener.accept()[0], server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\na")
            with socket.socket(fileno=secure.detach()) as bare:
                bare.settimeout(60)
                with suppress(ConnectionResetError):
                    while not last_words or last_words[-1]:
                        last_words.append(bare.recv(65536))
                told.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        host = f"localhost:{listener.getsockname()[1]}"
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=certificate))
        budget = Budget(MIB)
        monkeypatch.setattr(budget, "spend", lambda count: reading.set())
        task = asyncio.ensure_future(fetch(f"https://{host}/x", InputSettings(PRIVATE_HOSTS=(host,)), budget))
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(told.wait, 30)
        thread.join(30)
    assert last_words in ([], [b""])


# -- where it may lead -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://a.example/" + "x" * 8000, "more than 8000 characters"),
        ("ftp://a.example/x", "Only http and https"),
        ("file:///etc/passwd", "Only http and https"),
        ("http://", "not valid"),
        ("http:///x", "not valid"),
        ("http://user@a.example/", "no user"),
        ("http://user:pw@a.example/", "no user"),
        ("http://:pw@a.example/", "no user"),
        ("http://a.example:22/", "ports 80 and 443"),
        ("https://a.example:8443/", "ports 80 and 443"),
        ("http://a.example:0/", "ports 80 and 443"),
        ("http://[::1", "not valid"),
        ("http://a.example:99999/", "not valid"),
        ("http://0x7f.1/", "not valid"),
        ("http://127.1/", "not valid"),
        ("http://2130706433/", "not valid"),
        ("http://0177.0.0.1/", "not valid"),
        ("http://127.0.0.0x1/", "not valid"),
        ("http://127.0.0.1/", NO_ADDRESS),
        ("http://127.0.0.1./", NO_ADDRESS),
        ("http://127.0.0.1/", NO_ADDRESS),
        ("http://[::1]/", NO_ADDRESS),
        ("http://[::ffff:127.0.0.1]/", NO_ADDRESS),
        ("http://[fe80::1%25lo]/", ""),
        ("http://169.254.169.254/latest/meta-data/", NO_ADDRESS),
        ("http://10.0.0.1/", NO_ADDRESS),
    ],
)
async def test_urls_that_lead_nowhere_good(url: str, told: str, connections: list[Any]) -> None:
    problem = await refusal(url)
    assert problem.kind == "url"
    assert told in str(problem)
    assert connections == []


@pytest.mark.parametrize(
    "answer",
    [
        *(["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["fe80::1%1"], ["64:ff9b::7f00:1"], []),
        *(["93.184.216.34", "127.0.0.1"], ["2606:4700::1111", "10.0.0.1"]),
    ],
)
async def test_a_name_with_one_bad_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any], answer: list[str]
) -> None:
    Names(monkeypatch, inside_example=[answer])
    problem = await refusal("http://inside.example/")
    assert (problem.kind, str(problem)) == ("url", str(await refusal("http://unknown.example/")))
    assert connections == []


async def test_only_the_addresses_that_were_checked_are_connected_to(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    names = Names(monkeypatch, rebind_example=[["93.184.216.34", "2606:4700::1111"], ["127.0.0.1"]])
    assert (await refusal("https://rebind.example/")).kind == "download"
    assert {address[:2] for address in connections} == {("93.184.216.34", 443), ("2606:4700::1111", 443)}
    assert names.asked == ["rebind.example"]


async def test_each_redirect_is_looked_up_and_checked_anew(files: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    public, port = f"files.example:{files.port}", files.port
    limits = InputSettings(HOSTS=(public,), PRIVATE_HOSTS=(f"first.example:{port}",))
    names = Names(monkeypatch, first_example=[["127.0.0.1"], ["169.254.169.254"]], files_example=[["127.0.0.1"]])
    for target in (f"http://{public}/cat.png", f"http://first.example:{port}/cat.png", f"http://127.0.0.1:{port}/"):
        names.asked.clear()
        problem = await refusal(f"http://first.example:{port}/redirect?302&{target}", limits)
        assert problem.kind == "url"
        names._answers["first.example"].insert(0, ["127.0.0.1"])
    assert [visit.path.partition("?")[0] for visit in files.log] == ["/redirect"] * 3


async def test_a_redirect_to_another_scheme_is_not_followed(files: FileServer, allowed: InputSettings) -> None:
    problem = await refusal(files.url("/redirect?302&file:///etc/passwd"), allowed)
    assert (problem.kind, "Only http" in str(problem)) == ("url", True)


async def test_with_a_list_of_hosts_there_are_no_others(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    public = [["93.184.216.34"]]
    Names(monkeypatch, a_example=public, cdn_b_example=public, b_example=public, evil_example=public)
    limits = InputSettings(HOSTS=("a.example", "*.b.example", "a.example:8443"))
    for good in ("http://a.example/", "https://A.Example./", "http://cdn.b.example/", "https://a.example:8443/"):
        await refusal(good, limits)
        assert connections, good
        connections.clear()
    bad = ("http://b.example/", "http://evil.example/", "http://a.example:8080/", "http://a.example.evil.example/")
    for url in bad:
        problem = await refusal(url, limits)
        assert (problem.kind, connections) == ("url", [])


@pytest.mark.parametrize("answer", [["169.254.169.254"], ["0.0.0.0"], ["fe80::1"]])  # noqa: S104 (an answer, not bound)
async def test_a_private_host_may_be_private_but_no_metadata_service(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any], answer: list[str]
) -> None:
    Names(monkeypatch, files_internal=[answer], good_internal=[["10.1.2.3"]])
    limits = InputSettings(PRIVATE_HOSTS=("*.internal",))
    assert (await refusal("http://files.internal/", limits)).kind == "url"
    assert connections == []
    assert (await refusal("http://good.internal/", limits)).kind == "download"
    assert connections == [("10.1.2.3", 80)]


def test_a_real_look_up() -> None:
    assert "127.0.0.1" in module.look_up("localhost", 80)
