"""The request's body: bounds, gzip in pieces, and what Content-Lengths say."""

import gzip
import json
from typing import Any

import pytest

from gateway_project.transport.body import Body, InvalidEncoding, InvalidJSON, _Inflater, exceeds
from gateway_project.transport.errors import BodyTooLarge, InvalidValue, UnsupportedMediaType, envelope

JSON = "application/json"


def read(raw: bytes, *, limit: int = 1000, encoding: str | None = None, size: int = 1000) -> dict[str, Any]:
    """Read a body that comes in fragments of `size` bytes."""
    body = Body(limit)
    body.check_headers(JSON, encoding, None)
    for start in range(0, len(raw), size):
        body.feed(raw[start : start + size])
    return body.json()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("members", [1, 3])
def test_gzip_comes_in_any_pieces(size: int, members: int) -> None:
    raw = json.dumps({"a": "b" * 100}).encode()
    cut = len(raw) // members + 1
    packed = b"".join(gzip.compress(raw[start : start + cut]) for start in range(0, len(raw), cut))
    assert read(packed, encoding="gzip", size=size) == {"a": "b" * 100}


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_what_is_inflated_is_bounded_by_the_byte(size: int) -> None:
    raw = b'{"a":"%s"}' % (b"b" * 992)
    assert len(raw) == 1000
    read(gzip.compress(raw), encoding="gzip", size=size)
    for more in (1, 100, 10_000_000):
        with pytest.raises(BodyTooLarge):
            read(gzip.compress(raw + b" " * more), encoding="gzip", size=size)
        with pytest.raises(BodyTooLarge):
            read(gzip.compress(raw) + gzip.compress(b" " * more), encoding="gzip", size=size)


@pytest.mark.parametrize("cut", [0, 5, 10, 15, -8, -1])
def test_gzip_that_ends_too_early(cut: int) -> None:
    with pytest.raises(InvalidEncoding):
        read(gzip.compress(b'{"a": 1}')[:cut], encoding="gzip")


def test_a_plain_body_is_bounded_by_the_byte() -> None:
    read(b"{}" + b" " * 998, size=100)
    with pytest.raises(BodyTooLarge):
        read(b"{}" + b" " * 999, size=100)


@pytest.mark.parametrize("coding", ["", "identity", "gzip", "x-gzip", "GZIP", " gzip ", "identity, gzip"])
def test_codings_that_are_read(coding: str) -> None:
    raw = gzip.compress(b"{}") if "gzip" in coding.lower() else b"{}"
    assert read(raw, encoding=coding) == {}


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip, br", "deflate", "gzipped"])
def test_codings_that_are_not(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        read(b"", encoding=coding)
    assert caught.value.headers == ((b"accept-encoding", b"gzip"),)


@pytest.mark.parametrize(
    ("length", "above"),
    [
        ("0", False),
        ("10", False),
        ("11", True),
        ("0010", False),
        ("0011", True),
        ("9" * 5000, True),
        ("0" * 5000, False),
    ],
)
def test_a_length_is_compared_whatever_its_digits(length: str, above: bool) -> None:
    assert exceeds(length, 10) is above
    body = Body(10)
    if above:
        with pytest.raises(BodyTooLarge):
            body.check_headers(JSON, None, length)
    else:
        body.check_headers(JSON, None, length)


def test_the_number_of_parts_is_bounded_and_braces_in_a_text_are_none() -> None:
    limit = 10**6
    assert read(b'{"a": "%s"}' % (b"[" * 60_000), limit=limit)
    assert len(read(b'{"a": [%s]}' % b",".join([b"{}"] * 49_998), limit=limit)["a"]) == 49_998
    with pytest.raises(InvalidValue):
        read(b'{"a": [%s]}' % b",".join([b"{}"] * 49_999), limit=limit)


def test_a_mark_is_ignored_once() -> None:
    assert read(b"\xef\xbb\xbf{}") == {}
    with pytest.raises(InvalidJSON):
        read(b"\xef\xbb\xbf\xef\xbb\xbf{}")


def test_what_an_error_quotes_is_bounded() -> None:
    told = envelope(InvalidValue("x" * 5000, param="y" * 5000))["error"]
    assert (len(told["message"]), len(told["param"] or "")) == (1000, 1000)
    assert envelope(InvalidValue("x" * 1000))["error"]["message"] == "x" * 1000


def test_no_more_is_inflated_than_is_asked_for() -> None:
    assert len(_Inflater().inflate(gzip.compress(b" " * 10**7), 10)) == 11
