"""What is no HTTP, what is odd HTTP, and what smugglers send."""

import re

import pytest

from tests.e2e.bad_input.raw import CLOSED, PATIENCE_SECONDS, Case, build, check, check_good, good_body
from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client

pytestmark = pytest.mark.e2e

CHUNKED = b"Transfer-Encoding: chunked"
BAD = "malformed_request"


def chunked(name: str, body: bytes, statuses: tuple[int, ...] = (400, CLOSED), code: str | None = None) -> Case:
    return Case(name, statuses, add=(CHUNKED,), body=body, length=False, code=code)


FRAMING = [
    Case("HTTP/1.0", (200,), line="POST {path} HTTP/1.0"),
    Case("HTTP/1.0 without Host", (200,), line="POST {path} HTTP/1.0", drop=("Host",)),
    Case("HTTP/1.1 without Host", (400,), drop=("Host",), code="invalid_host"),
    Case("two Hosts", (400,), add=(b"Host: 127.0.0.1",), code="invalid_host"),
    Case("an empty Host", (400,), drop=("Host",), add=(b"Host:",), code="invalid_host"),
    Case("a Host that is none", (400,), drop=("Host",), add=(b"Host: a b/c",), code="invalid_host"),
    Case("a Host of others", (400,), drop=("Host",), add=(b"Host: evil.example",), code="invalid_host"),
    Case("HTTP/1.2", (400,), line="POST {path} HTTP/1.2", code=BAD),
    Case("HTTP/2.0", (400,), line="POST {path} HTTP/2.0", code=BAD),
    Case("the preface of HTTP/2", (400,), line="PRI * HTTP/2.0", code=BAD),
    Case("HTTP/0.9", (400,), line="GET {path}", code=BAD),
    Case("http in small letters", (400,), line="POST {path} http/1.1", code=BAD),
    Case("two blanks", (400,), line="POST  {path} HTTP/1.1", code=BAD),
    Case("a tab", (400,), line="POST\t{path} HTTP/1.1", code=BAD),
    Case("an empty target", (400,), line="POST  HTTP/1.1", code=BAD),
    Case("a method that is no token", (400,), line="PO(ST {path} HTTP/1.1", code=BAD),
    Case("a control character in the target", (400,), line="POST {path}\x01 HTTP/1.1", code=BAD),
    Case("a byte beyond ASCII in the target", (400,), line="POST {path}\xe9 HTTP/1.1", code=BAD),
    Case("a byte beyond ASCII in the query", (400,), line="POST {path}?\x85 HTTP/1.1", code=BAD),
    Case("an empty line before", (200,), line="\r\nPOST {path} HTTP/1.1"),
    Case("a folded header", (200, 400), add=(b"X-Folded: a", b"  b")),
    Case(
        "a folded header that is ours", (200, 400), drop=("Content-Type",), add=(b"Content-Type:", b" application/json")
    ),
    Case("a blank before the colon", (400,), add=(b"X-Blank : a",), code=BAD),
    Case("a header without a colon", (400,), add=(b"nothing",), code=BAD),
    Case("a header without a name", (400,), add=(b": a",), code=BAD),
    Case("a header's name that is no token", (400,), add=(b"X(Y): a",), code=BAD),
    Case("a NUL in a header", (400,), add=(b"X-A: a\0b",), code=BAD),
    Case("a bare CR in a header", (400,), add=(b"X-A: a\rX-B: b",), code=BAD),
    Case("a bare LF in a header", (400,), add=(b"X-A: a\nX-B: b",), code=BAD),
    Case("a vertical tab in a header", (400,), add=(b"X-A: a\x0bb",), code=BAD),
    Case("UTF-8 in a header", (200,), add=("X-A: é".encode(),)),
    Case("NEL in a header", (200, 400), add=(b"X-A: a\x85b",)),
    Case("a root path beyond ASCII", (400,), add=(b"Daphne-Root-Path: \xff",), code=BAD),
    Case("Content-Length twice", (400,), add=(b"Content-Length: 5",), code=BAD),
    Case(
        "Content-Length twice the same", (400,), add=(b"Content-Length: %d" % len(good_body(Route("", "", "input"))),)
    ),
    *(
        Case(f"Content-Length {value!r}", (400,), length=False, add=(b"Content-Length: " + value,), code=BAD)
        for value in (b"-1", b"+5", b"0x10", b"5, 5", b"5 5", b"1e3", b"", b"5.0", b"\xb2")
    ),
    Case(
        "a length that is too short",
        (400,),
        length=False,
        add=(b"Content-Length: 5",),
        code="invalid_json",
        follows=False,
    ),
    Case("a length over the limit", (413,), length=False, add=(b"Content-Length: 10485761",), code="request_too_large"),
    Case(
        "a length of 19 digits", (413,), length=False, add=(b"Content-Length: " + b"9" * 19,), code="request_too_large"
    ),
    Case("a length of 5000 digits", (413,), length=False, add=(b"Content-Length: " + b"9" * 5000,)),
    Case("no length", (400,), body=b"", length=False, code="invalid_json"),
    Case("a length and chunks", (400,), add=(CHUNKED,), body=b"0\r\n\r\n", code=BAD),
    Case("chunks and a length", (400,), length=False, add=(CHUNKED, b"Content-Length: 5"), body=b"0\r\n\r\n", code=BAD),
    *(
        Case(
            f"Transfer-Encoding {coding!r}",
            (400,),
            length=False,
            add=(b"Transfer-Encoding: " + coding,),
            body=b"0\r\n\r\n",
        )
        for coding in (
            b"identity",
            b"gzip, chunked",
            b"chunked, chunked",
            b"xchunked",
            b"chunked;q=1",
            b"\x0bchunked",
            b"",
        )
    ),
    Case("identity and a length", (400,), add=(b"Transfer-Encoding: identity",), code=BAD),
    chunked(
        "one chunk", b"%x\r\n%s\r\n0\r\n\r\n" % (len(b'{"model":1}'), b'{"model":1}'), (400,), code="invalid_value"
    ),
    chunked("an extension", b'b;a=b;c="d"\r\n{"model":1}\r\n0\r\n\r\n', (400,), code="invalid_value"),
    chunked("a trailer", b'b\r\n{"model":1}\r\n0\r\nX-Trailer: a\r\n\r\n', (400,), code="invalid_value"),
    chunked("zeros before the size", b'000000b\r\n{"model":1}\r\n0\r\n\r\n', (400,), code="invalid_value"),
    chunked("a size that is no number", b"zz\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("a negative size", b"-1\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("a size with a sign", b"+2\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("a size with 0x", b"0x2\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("no size", b"\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("a chunk that is longer than it says", b"1\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("lines that end with LF", b"2\n{}\n0\n\n", code=BAD),
    chunked("an endless size", b"0" * 2000, code=BAD),
    chunked("an endless extension", b"2;" + b"a" * 2000, code=BAD),
    chunked("a NUL in an extension", b"2;a\0\r\n{}\r\n0\r\n\r\n", code=BAD),
    chunked("an endless trailer", b"2\r\n{}\r\n0\r\nX: " + b"a" * 70000, code=BAD),
    chunked("a chunk over the limit", b"fffffff\r\n{}", (413,), code="request_too_large"),
    chunked("a chunk beyond all numbers", b"f" * 40 + b"\r\n{}", (413,), code="request_too_large"),
    Case("Expect: 100-continue", (200,), add=(b"Expect: 100-continue",)),
    Case("Expect: 100-CONTINUE", (200,), add=(b"Expect: 100-CONTINUE",)),
    Case("an unknown expectation", (200, 417), add=(b"Expect: the-unexpected",)),
    Case("1000 headers", (431,), add=tuple(b"X-%d: a" % number for number in range(1000)), code="headers_too_large"),
    Case("a header of 80 KiB", (431,), add=(b"X-A: " + b"a" * 81920,), code="headers_too_large"),
    Case("a key of 100 KiB", (431,), drop=("Authorization",), add=(b"Authorization: Bearer " + b"a" * 102400,)),
    Case("ten headers of 2 KiB", (431,), add=tuple(b"X-%d: " % n + b"a" * 2048 for n in range(10))),
    Case("a target of 80 KiB", (431,), line="POST {path}" + "a" * 81920 + " HTTP/1.1", code="headers_too_large"),
    Case("50 headers", (200,), add=tuple(b"X-%d: a" % number for number in range(50))),
]


@pytest.mark.parametrize("case", FRAMING, ids=str)
def test_framing(server: Gateway, route: Route, case: Case) -> None:
    check(server, route, case)


GARBAGE = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
    "lines of LF": b"POST /v1/responses HTTP/1.1\nHost: 127.0.0.1\n\n",
    "LF only": b"\n\n",
    "CR only": b"\r\r\r",
    "NULs": b"\0" * 100,
    "a protocol of others": b"SSH-2.0-OpenSSH_9.9\r\n",
    "an endless word": b"A" * 20000,
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_http_is_not_waited_for(server: Gateway, route: Route, sent: bytes) -> None:
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    client.socket.sendall(sent)
    assert client.read_reply().status in (400, 431)
    assert client.is_closed_by_server()
    check_good(Client(server.port), server, route)


SMUGGLED = b"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Smuggled: yes\r\n"


@pytest.mark.parametrize(
    "lengths",
    [
        (b"Content-Length: 4", CHUNKED),
        (CHUNKED, b"Content-Length: 4"),
        (b"Content-Length: 0", b"Content-Length: 400"),
        (b"Transfer-Encoding : chunked",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"X: y\nTransfer-Encoding: chunked",),
    ],
    ids=repr,
)
def test_a_hidden_request_is_never_run(server: Gateway, route: Route, lengths: tuple[bytes, ...]) -> None:
    before = len(server.store.runs())
    hidden = build(Case("hidden", ()), route, server.key)
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    case = Case("outer", (), length=False, add=lengths, body=b"0\r\n\r\n" + hidden)
    client.socket.sendall(build(case, route, server.key))
    assert client.read_reply().status == 400
    assert client.is_closed_by_server()
    check_good(Client(server.port), server, route)
    assert len(server.store.runs()) == before + 1, "only the good request after it"


def test_chunks_in_one_byte_pieces(server: Gateway, route: Route) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in good_body(route)) + b"0\r\n\r\n"
    case = Case("", (), add=(CHUNKED,), body=body, length=False)
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    for byte in build(case, route, server.key):
        client.socket.sendall(bytes([byte]))
    reply = client.read_reply()
    assert (reply.status, route.text(reply.json)) == (200, "alpha bravo charlie")
    check_good(client, server, route)


def test_pipelined_requests_are_answered_in_order_and_garbage_behind_them_closes(server: Gateway, route: Route) -> None:
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    one = build(Case("", ()), route, server.key)
    bad = build(Case("", (), body=b"{"), route, server.key)
    client.socket.sendall(one + bad + one + b"GARBAGE\r\n\r\n")
    assert [client.read_reply().status for _ in range(4)] == [200, 400, 200, 400]
    assert client.is_closed_by_server()


def test_100_continue_comes_before_the_body_and_not_before_a_refusal(server: Gateway, route: Route) -> None:
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    body = good_body(route)
    head = Case("", (), add=(b"Content-Length: %d" % len(body), b"Expect: 100-continue"), body=b"", length=False)
    client.socket.sendall(build(head, route, server.key))
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.socket.sendall(body)
    assert client.read_reply().status == 200
    refused = Client(server.port, timeout=PATIENCE_SECONDS)
    head = Case("", (), add=(b"Content-Length: 99999999", b"Expect: 100-continue"), body=b"", length=False)
    refused.socket.sendall(build(head, route, server.key))
    assert re.match(rb"HTTP/1.1 413 ", refused.read_until(b"\r\n"))


def test_a_body_over_the_limit_is_refused_while_it_is_sent_and_the_reply_can_be_read(
    server: Gateway, route: Route
) -> None:
    size = 20 * 1024 * 1024
    declared = build(Case("", (), body=b" " * size), route, server.key)
    in_chunks = build(
        Case("", (), add=(CHUNKED,), body=b"10000\r\n%s\r\n" % (b" " * 0x10000) * 320, length=False), route, server.key
    )
    for sent in (declared, in_chunks):
        client = Client(server.port, timeout=PATIENCE_SECONDS)
        client.socket.sendall(sent)  # A client that only sends is not cut off before it has sent all.
        reply = client.read_reply()
        assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")
        assert client.is_closed_by_server()
    check_good(Client(server.port), server, route)


def test_a_body_that_goes_over_the_limit_in_its_last_byte_is_not_run(server: Gateway, route: Route) -> None:
    before = len(server.store.runs())
    body = b"10000\r\n%s\r\n" % (b" " * 0x10000) * 160 + b"1\r\n \r\n0\r\n\r\n"
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    client.socket.sendall(build(Case("", (), add=(CHUNKED,), body=body, length=False), route, server.key))
    assert client.read_reply().status == 413
    assert client.is_closed_by_server()
    check_good(Client(server.port), server, route)
    assert len(server.store.runs()) == before + 1


@pytest.mark.parametrize("leaving", ["fin", "rst", "half_close"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_client_that_leaves_in_the_middle_of_its_request(
    server: Gateway, route: Route, leaving: str, share: float
) -> None:
    before = len(server.store.runs())
    sent = build(Case("", ()), route, server.key)
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    client.socket.sendall(sent[: int(len(sent) * share)])
    client.leave(leaving)  # type: ignore[arg-type]
    check_good(Client(server.port), server, route)
    assert len(server.store.runs()) == before + 1
