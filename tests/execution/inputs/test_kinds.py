"""Types: the bytes count, names only where the bytes do not tell."""

import pytest

from gateway_project.execution.inputs.kinds import decode, media_type

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
SAMPLES = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
    (b"GIF89a\1\0\1\0", "image/gif"),
    (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    (b"RIFF\n\r\n\nWEBPVP8 ", "image/webp"),
    (b"\0\0\0\x18ftypheic", "image/heic"),
    (b"\0\0\0\x20ftypisom", "video/mp4"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
    (b"ID3\x04\0\0", "audio/mpeg"),
    (b"\xff\xfb\x90\x64\0", "audio/mpeg"),
    (b"%PDF-1.7\n%", "application/pdf"),
    (b"\n\n%PDF-1.4", "application/pdf"),
    (b"PK\x03\x04\x14\0", "application/zip"),
    (b"\x7fELF\x02\x01", "application/octet-stream"),
    (b"\0\1\2\3", "application/octet-stream"),
    (b"\n<!DOCTYPE html><p>x", "text/html"),
    (b"<!-- a --> <HTML lang=en>", "text/html"),
    (b"plain", "text/plain"),
    ("Grüße".encode(), "text/plain"),
    ("Grüße".encode("utf-16"), "text/plain"),
    ("Grüße".encode("cp1252"), "text/plain"),
]


@pytest.mark.parametrize(("data", "expected"), SAMPLES)
def test_the_bytes_tell(data: bytes, expected: str) -> None:
    assert media_type(data) == expected


@pytest.mark.parametrize(("data", "expected"), SAMPLES[:16])
@pytest.mark.parametrize("declared", ["image/png", "text/html", "application/json", "application/pdf", "audio/wav"])
def test_a_declaration_changes_nothing_where_they_do(data: bytes, expected: str, declared: str) -> None:
    assert media_type(data, declared=declared, filename="x.png") == expected


@pytest.mark.parametrize(
    ("declared", "filename", "expected"),
    [
        ("text/csv; charset=utf-8", None, "text/csv"),
        ("APPLICATION/JSON", None, "application/json"),
        ("text/markdown", "x.csv", "text/markdown"),
        ("text/plain", "notes.MD", "text/markdown"),
        ("", "data.csv", "text/csv"),
        ("", "page.htm", "text/html"),
        ("text/x-python", "a.py", "text/plain"),
        ("image/png", "a.png", "text/plain"),
        ("application/pdf", "a.pdf", "text/plain"),
    ],
)
def test_a_declaration_tells_texts_apart(declared: str, filename: str | None, expected: str) -> None:
    assert media_type(b"a,b\n1,2\n", declared=declared, filename=filename) == expected


def test_what_is_no_text_has_none() -> None:
    assert decode(b"a\0b") is None
    assert decode(b"\xff\xfe\x00\xd8") is None
    assert decode(b"a\x1b[0m\t\r\n\x0c") == "a\x1b[0m\t\r\n\x0c"
    assert decode("\ufeffa".encode()) == "a"


def test_comments_made_to_be_matched_in_many_ways_cost_no_time() -> None:
    assert media_type(b"<!---->" * 500 + b"x") == "text/plain"
    assert media_type(b"<!-- -- -->" * 300 + b"<html>") == "text/html"
