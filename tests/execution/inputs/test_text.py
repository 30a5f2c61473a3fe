"""The text of files: what a reader would see, within bounds, and a process that ends with its run."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway_project.execution.inputs import extract, text
from gateway_project.execution.inputs.problems import InputProblem
from gateway_project.execution.inputs.text import text_of
from gateway_project.input_settings import InputSettings
from tests.e2e.gateway import wait_for

LIMITS = InputSettings()
needs_pypdf = pytest.mark.skipif(find_spec("pypdf") is None, reason="the extra 'pdf' is not installed")


def pdf(*pages: str) -> bytes:
    """A PDF file with a line of text on each page."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", ""]
    objects += ["<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for said in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({said}) Tj ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {len(objects) + 2} 0 R>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    body, places = "%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{item}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    trailer = f"trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/csv", "application/json"])
async def test_text_is_itself(media_type: str) -> None:
    assert await text_of("a,ü\n  1,2\n".encode(), media_type, LIMITS) == "a,ü\n  1,2\n"


async def test_of_a_page_what_a_reader_sees() -> None:
    page = (
        "<!doctype html><html><head><title>The title</title><style>p {}</style><meta name=x></head>"
        "<body><h1>Big\n news</h1><script>alert('no')</script><p>One &amp; two<br>three</p>"
        "<noscript>no</noscript><template>no</template><svg><text>no</text></svg>"
        "<table><tr><td>a<td>b</table><!-- no --><p>end"
    )
    assert await text_of(page.encode(), "text/html", LIMITS) == "The title\nBig news\nOne & two\nthree\na b\nend"


async def test_a_page_whose_head_is_never_closed() -> None:
    assert extract.html_text(b"<html><head><title>T</title><body>seen") == "T\nseen"


@needs_pypdf
async def test_of_a_pdf_its_pages() -> None:
    assert await text_of(pdf("First page", "Second page"), "application/pdf", LIMITS) == "First page\n\nSecond page"


@needs_pypdf
async def test_pages_and_characters_beyond_the_limit_are_left_out_and_that_is_said() -> None:
    told = "\n[The rest of the file is left out.]"
    assert await text_of(pdf("one", "two"), "application/pdf", replace(LIMITS, PDF_PAGES=1)) == f"one{told}"
    short = replace(LIMITS, TEXT_CHARACTERS=4)
    assert await text_of(b"abcdef", "text/plain", short) == f"abcd{told}"
    assert await text_of(b"<p>abcdef", "text/html", short) == f"abcd{told}"
    assert await text_of(pdf("abcdef", "g", "h"), "application/pdf", short) == f"abcd{told}"
    assert await text_of(b"abcd", "text/plain", short) == "abcd"


@pytest.mark.parametrize(
    ("data", "media_type", "kind"),
    [
        (b" \n", "text/plain", "text"),
        (b"<script>x</script>", "text/html", "text"),
        (b"\0\1", "application/zip", "type"),
        pytest.param(b"%PDF-1.4 broken", "application/pdf", "text", marks=needs_pypdf),
        pytest.param(pdf(""), "application/pdf", "text", marks=needs_pypdf),
    ],
)
async def test_what_has_no_text_is_told(data: bytes, media_type: str, kind: str) -> None:
    with pytest.raises(InputProblem) as caught:
        await text_of(data, media_type, LIMITS)
    assert caught.value.kind == kind


async def test_without_the_library_a_pdf_is_refused_as_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(InputProblem) as caught:
        await text_of(pdf("x"), "application/pdf", LIMITS)
    assert caught.value.kind == "type"


async def started(folder: Path) -> int:
    """The process id, as soon as it is there."""
    note = folder / "pid"

    def find() -> str:
        return note.read_text() if note.exists() else ""

    return int(await asyncio.to_thread(wait_for, find, what="the parser's start"))


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_parser_that_never_ends_is_killed_in_time(endless: Path) -> None:
    with pytest.raises(InputProblem, match="too long") as caught:
        await text_of(b"<p>x", "text/html", replace(LIMITS, TEXT_SECONDS=0.5))
    assert caught.value.kind == "text"
    assert not is_alive(await started(endless))


async def test_a_parser_is_killed_when_its_run_is_cancelled(endless: Path) -> None:
    task = asyncio.ensure_future(text_of(b"<p>x", "text/html", LIMITS))
    pid = await started(endless)
    assert is_alive(pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(pid)


async def test_no_more_parsers_than_configured_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0

    async def run(data: bytes, kind: str, limits: InputSettings) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return b'{"text": "x", "whole": true}'

    monkeypatch.setattr(text, "_run", run)
    await asyncio.gather(*(text_of(b"<p>x", "text/html", LIMITS) for _ in range(8)))
    assert most == LIMITS.CONVERSIONS


async def test_a_parser_gets_none_of_the_gateways_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    program = tmp_path / "tells.py"
    program.write_text("import json, os\nprint(json.dumps({'text': ' '.join(os.environ), 'whole': True}))\n")
    monkeypatch.setattr(text, "_PROGRAM", program)
    found = await text_of(b"<p>x", "text/html", LIMITS)
    assert "PATH" in found
    assert "SECRET_KEY" not in found


def test_a_parser_may_not_take_all_the_memory(tmp_path: Path) -> None:
    program = tmp_path / "greedy.py"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(extract.__file__).parent)!r})\nimport extract\n"
        "extract.extract = lambda *_: {'text': str(len(bytes(1 << 31))), 'whole': True}\nextract.main()\n"
    )
    command = [sys.executable, str(program), "html", "10", "10", "10"]
    done = subprocess.run(command, input=b"x", capture_output=True, check=False)
    assert done.stdout == b'{"problem": "The file cannot be read."}'
