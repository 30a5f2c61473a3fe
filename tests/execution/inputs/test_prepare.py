"""From what the client sent to what the agent gets: order, counts, types, texts, and the first failure."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from gateway_project import ids
from gateway_project.agents.base import Agent
from gateway_project.agents.events import AgentEvent, Finish
from gateway_project.agents.request import (
    AgentRequest,
    AnyMedia,
    AudioPart,
    ContentPart,
    FilePart,
    ImagePart,
    Message,
    TextPart,
)
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.inputs import prepare
from gateway_project.execution.inputs.problems import InputError
from gateway_project.input_settings import InputSettings
from tests.file_server import PNG, FileServer

LIMITS = InputSettings()


class Reader(Agent):
    """Reads files, or only their text."""

    def __init__(self, *, reads_files: bool = False) -> None:
        super().__init__("reader", {})
        self.supports_files = reads_files

    async def run(self, request: AgentRequest, signal: AbortSignal) -> AsyncGenerator[AgentEvent, None]:
        yield Finish("stop")


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def image(source: str, number: int = 0) -> ImagePart:
    return ImagePart(where=f"messages[0].content[{number}].image_url", source=source, detail="low")


def file(source: str, **fields: Any) -> FilePart:
    return FilePart(where="input[0].content[0].file_url", source=source, **fields)


async def prepared(
    *parts: ContentPart, limits: InputSettings = LIMITS, notes: list[str] | None = None, reads_files: bool = False
) -> tuple[ContentPart, ...]:
    """What an agent gets of a message of these parts."""
    request = AgentRequest(run_id=ids.new_run_id(), model="m", messages=(Message("user", parts),))
    note = (notes if notes is not None else []).append
    async with asyncio.timeout(30):
        done = await prepare(request, Reader(reads_files=reads_files), limits, note=note)
    return done.messages[0].content


async def refusal(*parts: ContentPart, **options: Any) -> InputError:
    """Why not."""
    with pytest.raises(InputError) as caught:
        await prepared(*parts, **options)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return caught.value


def allow(files: FileServer, **limits: Any) -> InputSettings:
    return InputSettings(PRIVATE_HOSTS=(files.host,), **limits)


# -- inline ------------------------------------------------------------------------------------------------


async def test_a_request_without_media_is_left_as_it_is() -> None:
    request = AgentRequest(run_id=ids.new_run_id(), model="m", messages=(Message("user", (TextPart("hi"),)),))
    assert await prepare(request, Reader(), LIMITS, note=lambda line: None) is request


@pytest.mark.parametrize(
    "source",
    [
        f"data:image/png;base64,{base64(PNG)}",
        f"data:image/jpeg;base64,{base64(PNG)}",
        f"DATA:;x=y;BASE64,{base64(PNG)}",
        base64(PNG),
    ],
)
async def test_inline_data_is_decoded_and_its_type_is_that_of_its_bytes(source: str) -> None:
    assert await prepared(TextPart("look"), image(source), TextPart("well?")) == (
        TextPart("look"),
        replace(image(""), media_type="image/png", data=PNG),
        TextPart("well?"),
    )


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image("data:image/png;base64,@@@"), "invalid_base64_image"),
        (image("data:image/png,abc"), "invalid_base64_image"),
        (image("data:image/png;base64"), "invalid_base64_image"),
        (image("cat.png"), "invalid_base64_image"),
        (image("ü"), "invalid_base64_image"),
        (image(base64(PNG) + "\n"), "invalid_base64_image"),
        (image("data:image/png;base64,"), "empty_image_file"),
        (image(base64(b"<svg/>")), "unsupported_image_media_type"),
        (AudioPart(where="x", source=base64(PNG)), "unsupported_audio_media_type"),
        (file(base64(PNG)), "unsupported_file_media_type"),
        (file("@"), "invalid_base64_file"),
        (file(base64(b"  ")), "unreadable_file"),
        (image("data:" + ";" * 1_000_000 + ";base64,AAAA"), "invalid_base64_image"),
        (image("https://a.example/" + "x" * 8000), "invalid_image_url"),
        (image("ftp://a.example/cat.png"), "invalid_image_url"),
        (image("http://127.0.0.1/cat.png"), "invalid_image_url"),
    ],
)
async def test_what_cannot_be_taken_is_told_with_its_place(part: AnyMedia, code: str) -> None:
    error = await refusal(TextPart("look"), part)
    assert (error.code, error.param) == (code, part.where)


async def test_sizes_are_those_of_the_decoded_bytes() -> None:
    for size in (210, 211, 212):  # with every padding
        source = base64(PNG.ljust(size))
        most = replace(LIMITS, PART_BYTES=size, TOTAL_BYTES=2 * size)
        assert len(await prepared(image(source), image(source), limits=most)) == 2
        for limits in (replace(most, PART_BYTES=size - 1), replace(most, TOTAL_BYTES=2 * size - 1)):
            error = await refusal(image(source), image(source), limits=limits)
            assert error.code == "image_file_too_large"


async def test_there_may_be_only_so_many() -> None:
    limits = replace(LIMITS, PARTS=2, URLS=1)
    parts = [image(base64(PNG), number) for number in range(3)]
    assert len(await prepared(*parts[:2], limits=limits)) == 2
    error = await refusal(*parts, limits=limits)
    assert (error.code, error.param) == ("too_many_inputs", parts[2].where)
    by_url = [image("http://127.0.0.1/", number) for number in range(2)]
    error = await refusal(*by_url, limits=limits)
    assert (error.code, error.param) == ("too_many_inputs", by_url[1].where)


# -- by URL ------------------------------------------------------------------------------------------------


async def test_what_is_fetched_is_noted_without_path_or_query(files: FileServer) -> None:
    notes: list[str] = []
    url = files.url("/redirect?302&/cat.txt%3Ftoken%3Dsecret")
    assert await prepared(image(url), limits=allow(files), notes=notes) == (
        replace(image(""), media_type="image/png", data=PNG),
    )
    assert notes == [f"{image('').where} from 127.0.0.1 after 1 redirects: {len(PNG)} bytes, image/png"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/liar.png", "unsupported_image_media_type"),
        ("/empty.png", "empty_image_file"),
        ("/status/404", "failed_to_download_image"),
        ("/redirect?302&http://169.254.169.254/", "invalid_image_url"),
        ("/lying", "image_file_too_large"),
    ],
)
async def test_what_comes_and_is_no_image_is_told_and_noted(files: FileServer, path: str, code: str) -> None:
    notes: list[str] = []
    assert (await refusal(image(files.url(path)), limits=allow(files), notes=notes)).code == code
    assert len(notes) == 1
    assert "from 127.0.0.1: " in notes[0]


async def test_downloads_run_at_the_same_time_but_only_so_many(files: FileServer) -> None:
    limits = allow(files, CONCURRENT_FETCHES=2)
    task = asyncio.ensure_future(prepared(*(image(files.url("/silent"), n) for n in range(4)), limits=limits))
    await asyncio.to_thread(files.visit, lambda _: len(files.log) == 2)
    await asyncio.sleep(0.1)
    assert len(files.log) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_first_failure_stops_the_rest(files: FileServer) -> None:
    limits = allow(files, CONCURRENT_FETCHES=2)
    endless = [image(files.url("/slow"), number) for number in range(3)]
    error = await refusal(endless[0], image(files.url("/status/404"), 9), *endless[1:], limits=limits)
    assert (error.code, error.param) == ("failed_to_download_image", image("", 9).where)
    await asyncio.to_thread(files.visit, lambda _: all(visit.closed for visit in files.log if visit.path == "/slow"))
    assert len([task for task in asyncio.all_tasks() if "input" in task.get_name()]) == 0
    assert len(files.log) <= 2, "the first one may have been stopped before it had asked"


async def test_a_cancel_stops_them_all(files: FileServer) -> None:
    task = asyncio.ensure_future(prepared(*(image(files.url("/slow"), n) for n in range(3)), limits=allow(files)))
    await asyncio.to_thread(files.visit, lambda _: len(files.log) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(files.visit, lambda _: all(visit.closed for visit in files.log))


async def test_the_total_counts_over_all_downloads(files: FileServer) -> None:
    limits = allow(files, PART_BYTES=60_000, TOTAL_BYTES=100_000, FILE_TYPES=("text/plain",))
    parts = [file(files.url("/many-60000")) for _ in range(2)]
    assert (await refusal(*parts, limits=limits)).code == "file_too_large"


# -- files -------------------------------------------------------------------------------------------------


async def test_a_file_is_text_for_an_agent_that_reads_no_files(files: FileServer) -> None:
    limits = allow(files)
    page, note = file(files.url("/page.html")), file(files.url("/note.txt"), filename='my "note"\n.txt')
    assert await prepared(TextPart("read"), page, note, limits=limits) == (
        TextPart("read"),
        TextPart('\n<file name="page.html" type="text/html">\nT\nHello\n</file>\n'),
        TextPart('\n<file name="my _note__.txt" type="text/plain">\nGrüße <\\/file>\n</file>\n'),
    )


async def test_and_itself_for_one_that_does(files: FileServer) -> None:
    [found] = await prepared(file(files.url("/data.csv")), limits=allow(files), reads_files=True)
    assert found == file("", filename="data.csv", media_type="text/csv", data=b"a,b\n1,2\n")


async def test_without_the_http_client_no_url_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prepare.__globals__, "find_spec", lambda name: None)
    error = await refusal(image("https://a.example/cat.png"))
    assert (error.code, error.message) == ("invalid_image_url", "URLs are not fetched here.")
