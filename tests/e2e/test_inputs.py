"""Images, audio and files through a real server: to the agent's upstream, refused, or cut short by a disconnect."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.abort.test_records import assert_aborted, open_run, run_ids
from tests.e2e.conftest import ON_ONE_DATABASE
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT, Route
from tests.e2e.wire import Client, Leaving, Reply, ask
from tests.execution.inputs.test_text import needs_pypdf, pdf
from tests.file_server import PNG, FileServer
from tests.upstream import UpstreamProcess

pytestmark = pytest.mark.e2e

DATA_URL = f"data:image/png;base64,{b64encode(PNG).decode()}"


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    with UpstreamProcess() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(
    template: Store, upstream: UpstreamProcess, files: FileServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A server whose operator has named the file server, and whose agent is the upstream."""
    folder: Path = tmp_path_factory.mktemp("inputs")
    openai = {"BACKEND": "gateway_project.agents.openai.OpenAIAgent", "OPTIONS": {"base_url": upstream.base_url}}
    reader = {**openai, "OPTIONS": {**openai["OPTIONS"], "supports": ["files"]}}  # type: ignore[dict-item]
    steadfast = {"BACKEND": "gateway_project.agents.scripted.ScriptedAgent", "ON_DISCONNECT": "finish"}
    config = {
        "AGENTS": {"openai": openai, "reader": reader, "steadfast": steadfast},
        "INPUTS": {"PRIVATE_HOSTS": [files.host], "PART_BYTES": 1_000_000, "FETCH_SECONDS": 5, "URLS": 3},
    }
    server = Gateway(template.copy(folder), config, folder).start()
    yield server
    server.stop()
    server.store.drop()


def image(route: Route, url: str) -> dict[str, Any]:
    if route is CHAT:
        return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    return {"type": "input_image", "image_url": url, "detail": "low"}


def file(route: Route, source: str, filename: str | None = None) -> dict[str, Any]:
    if route is CHAT:
        return {"type": "file", "file": {"file_data": source, "filename": filename}}
    field = "file_url" if source.startswith("http") else "file_data"
    return {"type": "input_file", field: source, "filename": filename}


def body(route: Route, model: str, *parts: dict[str, Any], stream: bool = False) -> dict[str, Any]:
    text = {"type": "text" if route is CHAT else "input_text", "text": "look"}
    message = {"role": "user", "content": [text, *parts]}
    return {"model": model, "stream": stream, route.prompt_field: [message]}


def place(route: Route, field: str, number: int = 1) -> str:
    return f"{route.prompt_field}[0].content[{number}].{field}"


def send(gateway: Gateway, route: Route, payload: dict[str, Any]) -> Reply:
    return ask(gateway.port, "POST", route.path, key=gateway.key, body=payload)


def asked_upstream(upstream: UpstreamProcess) -> Any:
    """The content of the last message that the upstream was asked."""
    return upstream.log()[-1].body["messages"][-1]["content"]


# -- what reaches the agent --------------------------------------------------------------------------------


@pytest.mark.parametrize("by_url", [True, False], ids=["url", "data"])
def test_an_image_reaches_the_agents_upstream(
    gateway: Gateway, upstream: UpstreamProcess, files: FileServer, route: Route, stream: bool, by_url: bool
) -> None:
    url = files.url("/cat.png?token=hush") if by_url else DATA_URL
    reply = send(gateway, route, body(route, "openai/words-3", image(route, url), stream=stream))
    assert reply.status == 200
    assert asked_upstream(upstream) == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}},
    ]
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert row["status"] == "completed"
    notes = [(note["kind"], note["text"]) for note in gateway.store.notes(row["id"])]
    told = f"{place(route, 'image_url')} from 127.0.0.1: {len(PNG)} bytes, image/png"
    assert notes == ([("input", told)] if by_url else [])
    assert "hush" not in str(row) + gateway.log


def test_audio_reaches_it(gateway: Gateway, upstream: UpstreamProcess) -> None:
    sound = b64encode(b"RIFF\x24\0\0\0WAVEfmt ").decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}
    assert send(gateway, CHAT, body(CHAT, "openai/words-1", part)).status == 200
    assert asked_upstream(upstream)[1] == part


def test_a_file_reaches_an_agent_that_reads_none_as_text(
    gateway: Gateway, upstream: UpstreamProcess, files: FileServer, route: Route
) -> None:
    parts = (file(route, files.url("/page.html")), file(route, b64encode(b"a,b\n1,2").decode(), "x.csv"))
    assert send(gateway, route, body(route, "openai/words-1", *parts)).status == 200
    assert asked_upstream(upstream) == (
        'look\n<file name="page.html" type="text/html">\nT\nHello\n</file>\n'
        '\n<file name="x.csv" type="text/csv">\na,b\n1,2\n</file>\n'
    )


@needs_pypdf
def test_so_does_a_pdf(gateway: Gateway, upstream: UpstreamProcess, route: Route) -> None:
    part = file(route, b64encode(pdf("Page one", "Page two")).decode(), "a.pdf")
    assert send(gateway, route, body(route, "openai/words-1", part)).status == 200
    text = '<file name="a.pdf" type="application/pdf">\nPage one\n\nPage two\n</file>'
    assert asked_upstream(upstream) == f"look\n{text}\n"


def test_and_one_that_reads_files_as_it_is(
    gateway: Gateway, upstream: UpstreamProcess, files: FileServer, route: Route
) -> None:
    assert send(gateway, route, body(route, "reader/words-1", file(route, files.url("/data.csv")))).status == 200
    sent = {"filename": "data.csv", "file_data": "data:text/csv;base64,YSxiCjEsMgo="}
    assert asked_upstream(upstream)[1] == {"type": "file", "file": sent}


# -- what is refused ---------------------------------------------------------------------------------------


def test_an_agent_that_sees_nothing_refuses_an_image_before_its_run(gateway: Gateway, route: Route) -> None:
    reply = send(gateway, route, body(route, "reader/words-1", image(route, DATA_URL)))
    error = reply.json["error"]
    assert (reply.status, error["code"], error["param"]) == (400, "unsupported_parameter", place(route, "image_url"))
    assert gateway.store.ended(reply.headers["x-request-id"])["status"] == "rejected"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/redirect?302&http://169.254.169.254/latest/", "invalid_image_url"),
        ("/redirect?302&http://127.0.0.1/", "invalid_image_url"),
        ("/redirect?302&http://localhost/", "invalid_image_url"),
        ("/liar.png", "unsupported_image_media_type"),
        ("/endless", "image_file_too_large"),
        ("/lying", "image_file_too_large"),
        ("/slow", "failed_to_download_image"),
        ("/silent", "failed_to_download_image"),
    ],
)
def test_a_bad_image_is_a_400_and_no_work_for_the_agent(
    gateway: Gateway, upstream: UpstreamProcess, files: FileServer, stream: bool, path: str, code: str
) -> None:
    asked, visits = len(upstream.log()), len(files.log)
    reply = send(gateway, CHAT, body(CHAT, "openai/words-3", image(CHAT, files.url(path)), stream=stream))
    error = reply.json["error"]
    assert (reply.status, error["code"], error["param"]) == (400, code, place(CHAT, "image_url"))
    row = gateway.store.ended(reply.headers["x-request-id"])
    assert (row["status"], row["error_code"], row["started_at"], row["input_tokens"]) == ("failed", code, None, None)
    assert len(upstream.log()) == asked
    if "redirect" not in path and path != "/liar.png":
        files.visit(lambda _: all(visit.closed for visit in files.log[visits:]))


def test_the_server_itself_is_no_place_to_fetch_from(gateway: Gateway, route: Route) -> None:
    for url in (f"http://127.0.0.1:{gateway.port}/healthz", f"http://localhost:{gateway.port}/", "http://localhost/"):
        reply = send(gateway, route, body(route, "openai/words-3", image(route, url)))
        assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_image_url")


# -- a client that leaves ----------------------------------------------------------------------------------


@ON_ONE_DATABASE
@pytest.mark.parametrize("leaving", ["fin", "rst", "half_close"])
@pytest.mark.parametrize("path", ["/slow", "/silent"])
def test_a_disconnect_stops_the_downloads_and_everything_after_them(
    gateway: Gateway,
    upstream: UpstreamProcess,
    files: FileServer,
    route: Route,
    stream: bool,
    path: str,
    leaving: Leaving,
) -> None:
    seen, asked, visits = run_ids(gateway), len(upstream.log()), len(files.log)
    parts = [image(route, files.url(path)), image(route, files.url(path)), file(route, files.url(path))]
    client = Client(gateway.port)
    client.send("POST", route.path, key=gateway.key, body=body(route, "openai/words-3", *parts, stream=stream))
    files.visit(lambda _: len(files.log) == visits + 3)
    run = open_run(gateway, seen)
    assert (run["status"], run["started_at"]) == ("running", None)
    client.leave(leaving)
    files.visit(lambda _: all(visit.closed for visit in files.log[visits:]), within=3)
    row = gateway.store.ended(run["id"])
    assert_aborted(row, "preparing")
    assert (row["started_at"], row["input_tokens"], row["error_code"]) == (None, None, "")
    assert (row["settled_at"] - row["abort_requested_at"]).total_seconds() < 3
    assert len(upstream.log()) == asked
    assert gateway.store.notes(run["id"]) == []


def test_an_agent_that_is_to_finish_gets_its_inputs_all_the_same(gateway: Gateway, files: FileServer) -> None:
    seen, visits = run_ids(gateway), len(files.log)
    client = Client(gateway.port)
    payload = body(CHAT, "steadfast/echo", image(CHAT, files.url("/slow")))
    client.send("POST", CHAT.path, key=gateway.key, body=payload)
    files.visit(lambda _: len(files.log) > visits)
    run = open_run(gateway, seen)
    client.leave("fin")
    row = gateway.store.ended(run["id"])
    assert (row["status"], row["error_code"], row["abort_cause"]) == ("failed", "failed_to_download_image", "")
    assert [note["kind"] for note in gateway.store.notes(run["id"])] == ["client_gone", "input"]
