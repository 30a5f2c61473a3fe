"""Bodies: what is no JSON, JSON that is wrong, and JSON that is only odd or huge."""

import gzip
import json
import zlib
from functools import cache
from typing import Any

import pytest

from tests.e2e.bad_input.raw import SECONDS, Case, build, check, check_envelope, cpu_seconds, good_body
from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

GOOD = b'{"model": "scripted/count-1", "messages": [{"role": "user", "content": "x"}], "input": "x"%s}'
"""Served by both endpoints: each ignores the other's field."""

NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "a brace": b"{",
    "a quarter": GOOD[:20],
    "a comma too much": b'{"model": "x",}',
    "single quotes": b"{'model': 'x'}",
    "a comment": b'{"model": "x" /* x */}',
    "two values": b"{}{}",
    "something behind": b"{} x",
    "a NUL behind": b"{}\0",
    "NaN": GOOD % b', "temperature": NaN',
    "Infinity": GOOD % b', "temperature": Infinity',
    "-Infinity": GOOD % b', "seed": -Infinity',
    "1e309": GOOD % b', "temperature": 1e309',
    "-1e999 in the depth": GOOD % b', "x": [{"y": [-1e999]}]',
    "leading zero": GOOD % b', "seed": 01',
    "a plus": GOOD % b', "seed": +1',
    "hexadecimal": GOOD % b', "seed": 0x1',
    "a point without digits": GOOD % b', "temperature": 1.',
    "an integer of 5000 digits": GOOD % b', "seed": %s' % (b"9" * 5000),
    "an integer of 5000 digits elsewhere": GOOD % b', "x": [-%s]' % (b"9" * 5000),
    "100000 arrays": b"[" * 100_000,
    "100000 arrays that end": b"[" * 100_000 + b"]" * 100_000,
    "100000 objects": b'{"a":' * 100_000,
    "300 objects in a field": GOOD % b', "x": %s1%s' % (b'{"a":' * 300, b"}" * 300),
    "a lone high surrogate": GOOD % b', "user": "\\ud800"',
    "a lone low surrogate": GOOD % b', "user": "\\udc00"',
    "a lone surrogate as a name": GOOD % b', "\\udfff": 1',
    "an escape that is none": GOOD % b', "user": "\\x00"',
    "half an escape": GOOD % b', "user": "\\u12"',
    "a NUL in a string": GOOD % b', "user": "\0"',
    "a line's end in a string": GOOD % b', "user": "\n"',
    "no UTF-8": GOOD % b', "user": "\xff"',
    "an overlong NUL": GOOD % b', "user": "\xc0\x80"',
    "a surrogate in UTF-8": GOOD % b', "user": "\xed\xa0\x80"',
    "beyond Unicode": GOOD % b', "user": "\xf4\x90\x80\x80"',
    "half a character": GOOD % b', "user": "\xf0\x9f"',
    "Latin-1": GOOD % ', "user": "é"'.encode("latin-1"),
    "UTF-16": (GOOD % b"").decode().encode("utf-16"),
    "UTF-16 without a mark": (GOOD % b"").decode().encode("utf-16-le"),
    "UTF-32": (GOOD % b"").decode().encode("utf-32"),
    "a mark of UTF-16 and UTF-8": b"\xff\xfe" + GOOD % b"",
    "a form": b"model=x&input=x",
    "XML": b"<model>x</model>",
    "gzip without a word": gzip.compress(GOOD % b""),
    "5 MiB of zeros": bytes(5 * 1024 * 1024),
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json(server: Gateway, route: Route, body: bytes) -> None:
    check(server, route, Case("", (400,), body=body, code="invalid_json"))


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"1", b"-0", b"true", b"[{}]", b'""', b"1e308"], ids=repr)
def test_what_is_no_object(server: Gateway, route: Route, body: bytes) -> None:
    check(server, route, Case("", (400,), body=body, code="invalid_value"))


ODD: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + GOOD % b"",
    "blanks around": b"\r\n\t " + GOOD % b"" + b" \n",
    "a name twice": b'{"model": 5, "input": 7, "messages": 7, ' + (GOOD % b"")[1:],
    "a pair of surrogates": GOOD % b', "user": "\\ud83d\\ude00"',
    "an escaped NUL": GOOD % b', "user": "\\u0000", "metadata": {"\\u0000": "\\u0000"}',
    "noncharacters": GOOD % ', "user": "\ufffe\uffff\U0010ffff"'.encode(),
    "an escaped name": (GOOD % b"").replace(b'"model"', b'"\\u006dodel"'),
    "unknown names": GOOD % b', "": 1, "__proto__": {}, "constructor": null, "a.b": [], "model_config": 1',
    "minus zero": GOOD % b', "temperature": -0',
    "minus zero, broken": GOOD % b', "temperature": -0.0, "top_p": 0e0',
    "a tiny number": GOOD % b', "temperature": 5e-324, "top_p": 1e-999',
    "an integer of 4000 digits elsewhere": GOOD % b', "x": %s' % (b"9" * 4000),
    "a large number elsewhere": GOOD % b', "x": [1e308, 18446744073709551616, -9223372036854775809]',
    "150 objects in a field": GOOD % b', "x": %s1%s' % (b'{"a":' * 150, b"}" * 150),
    "braces in a text": GOOD % b', "user": "%s"' % (b"{[" * 100_000),
    "40000 unknown names": GOOD % b', "x": {%s}' % b",".join(b'"%d": []' % number for number in range(40_000)),
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_what_is_only_odd_works(server: Gateway, route: Route, body: bytes) -> None:
    check(server, route, Case("", (200,), body=body))


def test_the_last_of_two_equal_names_counts(server: Gateway, route: Route) -> None:
    body = good_body(route)[:-1] + b', "model": "scripted/count-2"}'
    reply = ask(server.port, "POST", route.path, key=server.key, body=body)
    assert route.text(reply.json) == "alpha bravo"


def huge(route: Route, what: str) -> bytes:
    """A request with something huge in it."""
    is_chat = route.prompt_field == "messages"
    text = {"type": "text" if is_chat else "input_text", "text": "x"}
    function: dict[str, Any] = {"name": "f", "description": "x"}
    tool = {"type": "function"} | ({"function": function} if is_chat else function)
    changes: dict[str, Any] = {
        "a text of 5 MiB": {route.prompt_field: [{"role": "user", "content": "x" * 5 * 1024 * 1024}]},
        "a model's name of 5 MiB": {"model": "x" * 5 * 1024 * 1024},
        "a user of 5 MiB": {"user": "x" * 5 * 1024 * 1024},
        "10000 messages": {route.prompt_field: [{"role": "user", "content": "x"}] * 10_000},
        "100000 messages": {route.prompt_field: [{"role": "user", "content": "x"}] * 100_000},
        "100000 bad messages": {route.prompt_field: [{"role": "nobody"}] * 100_000},
        "100000 parts": {route.prompt_field: [{"role": "user", "content": [text] * 100_000}]},
        "100000 bad parts": {route.prompt_field: [{"role": "user", "content": [{"type": "x"}] * 100_000}]},
        "10000 tools": {"tools": [tool] * 10_000},
        "100000 numbers as tools": {"tools": [1] * 100_000},
        "400000 entries of metadata": {"metadata": {str(number): "" for number in range(400_000)}},
        "parameters of 150 storeys": {"tools": [tool | deep("parameters", is_chat)]},
        "metadata of 150 storeys": {"metadata": json.loads('{"a":' * 150 + "1" + "}" * 150)},
    }
    return json.dumps(route.body("scripted/count-3", stream=False) | changes[what]).encode()


def deep(name: str, is_chat: bool) -> dict[str, Any]:
    schema = {name: json.loads('{"a":' * 150 + "1" + "}" * 150)}
    return {"function": {"name": "f", **schema}} if is_chat else schema


HUGE = {
    "a text of 5 MiB": (200, 200),
    "a model's name of 5 MiB": (404, 404),
    "a user of 5 MiB": (200, 200),
    "10000 messages": (200, 200),
    "100000 messages": (400, 400),
    "100000 bad messages": (400, 400),
    "100000 parts": (400, 400),
    "100000 bad parts": (400, 400),
    "10000 tools": (400, 200),
    "100000 numbers as tools": (400, 400),
    "400000 entries of metadata": (400, 400),
    "parameters of 150 storeys": (200, 200),
    "metadata of 150 storeys": (400, 400),
}
"""What each endpoint answers."""


@pytest.mark.parametrize("what", HUGE)
def test_what_is_huge_holds_nobody_up(server: Gateway, route: Route, what: str) -> None:
    status = HUGE[what][route.prompt_field == "input"]
    reply = check(server, route, Case("", (status,), body=huge(route, what)))
    assert reply is not None
    row = server.store.ended(reply.headers["x-request-id"])
    assert row["status"] == ("completed" if status == 200 else "rejected")
    assert len(row["requested_model"]) < 1000


GZIP = (b"Content-Encoding: gzip",)
ZIPPED = gzip.compress(GOOD % b"")

COMPRESSED: list[tuple[str, bytes, int, str | None]] = [
    ("gzip", ZIPPED, 200, None),
    ("two members", gzip.compress((GOOD % b"")[:9]) + gzip.compress((GOOD % b"")[9:]), 200, None),
    ("members that hold nothing", gzip.compress(b"") * 500 + ZIPPED, 200, None),
    ("a bomb", gzip.compress(b" " * 50_000_000), 413, "request_too_large"),
    ("a bomb behind good JSON", gzip.compress(GOOD % b"" + b" " * 20_000_000), 413, "request_too_large"),
    ("a bomb in members", gzip.compress(b" " * 1_000_000) * 20, 413, "request_too_large"),
    ("members without end", gzip.compress(b"") * 200_000, 400, "invalid_content_encoding"),
    ("nothing", b"", 400, "invalid_content_encoding"),
    ("too short", ZIPPED[:-4], 400, "invalid_content_encoding"),
    ("only the header", ZIPPED[:10], 400, "invalid_content_encoding"),
    ("a wrong checksum", ZIPPED[:-8] + b"\0" * 8, 400, "invalid_content_encoding"),
    ("something behind", ZIPPED + b"x", 400, "invalid_content_encoding"),
    ("plain JSON", GOOD % b"", 400, "invalid_content_encoding"),
    ("zlib", zlib.compress(GOOD % b""), 400, "invalid_content_encoding"),
    ("twice", gzip.compress(ZIPPED), 400, "invalid_json"),
    ("no JSON", gzip.compress(b"{"), 400, "invalid_json"),
]


@pytest.mark.parametrize(("_what", "body", "status", "code"), COMPRESSED, ids=[case[0] for case in COMPRESSED])
def test_gzip(server: Gateway, route: Route, _what: str, body: bytes, status: int, code: str | None) -> None:
    check(server, route, Case("", (status,), add=GZIP, body=body, code=code))


@cache
def bomb() -> bytes:
    """A quarter of a GiB of blanks."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(256)), packer.flush()])


def test_a_bomb_takes_no_memory(server: Gateway, route: Route) -> None:
    before = peak(server)
    for body in (bomb(), gzip.compress(bomb())):
        reply = ask(server.port, "POST", route.path, key=server.key, body=body, headers={"Content-Encoding": "gzip"})
        check_envelope(reply)
    assert peak(server) - before < 64 * 1024


def peak(server: Gateway) -> int:
    """The most memory that the server ever had, in KiB."""
    with open(f"/proc/{server.pid}/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_others_are_served_while_a_huge_request_is_read(server: Gateway, route: Route) -> None:
    slow = Client(server.port)
    slow.socket.sendall(build(Case("", (), body=huge(route, "10000 messages")), route, server.key))
    begun = cpu_seconds(server)
    assert ask(server.port, "GET", "/v1/models", key=server.key).status == 200
    assert cpu_seconds(server) - begun < SECONDS
    assert slow.read_reply().status == 200
