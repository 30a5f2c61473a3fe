"""A head that is read at once is read as Twisted reads it line by line."""

import re
import time
from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.web.http import Request

from gateway_project.transport.servers import channel as channel_module
from gateway_project.transport.servers.channel import GatewayChannel
from gateway_project.transport.servers.head import whole_head
from gateway_project.transport.servers.request import GatewayRequest
from tests.transport.test_servers_request import GET, POST, Server, Transport, with_field

USUAL_NAMES = (
    *(b"Host", b"content-type", b"X-Stainless-OS", b"te", b"ETag", b"Connection", b"Expect"),
    *(b"Content-Length", b"Transfer-Encoding"),
)
ODD_NAMES = (b"bad name", b"X:", b"", b" X-Fold", b"\tX", b"X ", b"X\n", b"X(", b"\xe9")
USUAL_VALUES = (
    *(b"", b"1", b"4", b"  4  ", b"+4", b"9" * 30, b"close", b"chunked", b"identity", b"100-continue"),
    *(b"a\tb \t", b"\xe9\x85", b"x" * 9000),
)
ODD_VALUES = (b"a\x0bb", b"a\x00b", b"a\x7f", b"a\nb", b"a\rb", b"a\r\n b", b"a\r\n\tb")


def fields(names: Iterable[bytes], between: Iterable[bytes], values: Iterable[bytes]) -> st.SearchStrategy[bytes]:
    """Lines of a head, without their ends."""
    return st.builds(lambda *parts: b"".join(parts), *map(st.sampled_from, map(tuple, (names, between, values))))


USUAL = fields(USUAL_NAMES, (b": ", b":", b":\t"), USUAL_VALUES)
ODD = fields(USUAL_NAMES + ODD_NAMES, (b": ", b" : ", b""), USUAL_VALUES + ODD_VALUES)
LINES = st.sampled_from(
    (
        *(b"POST /v1/responses HTTP/1.1", b"GET / HTTP/1.1", b"POST http://a/v1/responses HTTP/1.1"),
        *(b"GET / HTTP/1.0", b"GET / HTTP/2.0", b"PRI * HTTP/2.0"),
        *(b"", b"GET /", b"GET  / HTTP/1.1", b"G\nET / HTTP/1.1", b"\r\nGET / HTTP/1.1"),
    )
)
REQUESTS = st.builds(
    lambda line, lines, body: b"\r\n".join([line, *lines, b"", body]),
    LINES,
    st.lists(USUAL) | st.lists(USUAL | ODD),
    st.sampled_from(USUAL_VALUES),
)


class Plug(Transport):
    """A connection that can be closed in one direction."""

    is_half_closed = False

    def loseWriteConnection(self) -> None:  # noqa: N802 (Twisted's name)
        self.is_half_closed = True


class Found(GatewayRequest):
    """A request that notes what was read, and is answered at once or never."""

    found: list[Any]
    is_answered: bool

    def process(self) -> None:
        """Note it."""
        body = self.content.read()
        fields = list(self.requestHeaders.getAllRawHeaders())
        self.found.append((self.method, self.uri, self.clientproto, fields, body, self.is_ours))
        if self.is_answered:
            Request.write(self, b"ok")
            Request.finish(self)


def what_is_read(reads: Iterable[bytes], *, answered: bool) -> list[Any]:
    """All that can be told of what was made of it."""
    transport, found = Plug(), list[Any]()
    channel = GatewayChannel()
    channel.factory = SimpleNamespace(server=Server("daphne"), log=lambda _: None)
    channel.requestFactory = type("Request", (Found,), {"found": found, "is_answered": answered})
    channel.makeConnection(transport)
    for read in reads:
        channel.dataReceived(read)
    found.append(re.sub(rb"(?im)^(date|x-request-id):.*", b"", transport.value()))
    found += [transport.disconnecting, transport.is_half_closed, channel._is_refused, channel.persistent]
    found += [len(channel.requests), [request._received for request in channel.requests]]
    if not (channel._is_refused or transport.disconnecting):  # Else nothing more is read, whatever is left.
        found += [channel.line_mode, channel._buffer, channel._dataBuffer, channel.length]
    for request in channel.requests:
        if getattr(request, "content", None) is not None:
            request.content.close()
    channel._set_timer(None)
    channel.forget_timeout()
    return found


@pytest.fixture(autouse=True)
def _claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "is_claimed", lambda path, kind="http": path.startswith(b"/v1"))


@pytest.mark.parametrize(
    "data", [GET, POST, POST + POST, with_field(b"X-Two: 1\r\nx-two: 2 \r\nX_Under:3\r\nx-latin: \xe9\r\nX-Empty:")]
)
def test_the_usual_is_read_at_once(data: bytes) -> None:
    found = whole_head(data)
    assert found is not None
    assert found[0] + b"\r\n" in data
    assert len(found[1]) == data.partition(b"\r\n\r\n")[0].count(b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X-One: a\r\n b", id="a value that goes on"),
        pytest.param(b"X One: a", id="a name of two words"),
        pytest.param(b"X-One : a", id="a blank before the colon"),
        pytest.param(b"X-One", id="no colon"),
        pytest.param(b"X-One: a\nX-Two: b", id="a bare line feed"),
        pytest.param(b"X-One: a\rX-Two: b", id="a bare carriage return"),
        pytest.param(b"X-One: \x00", id="a value that is none"),
        pytest.param(b"X-One: " + b"a" * 0x4000, id="too long"),
        pytest.param(b"X-One: a\r\n" * 100 + b"X: a", id="too many"),
    ],
)
def test_everything_else_is_left_to_twisted(line: bytes) -> None:
    assert whole_head(with_field(line)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"x"]
)
def test_what_is_no_whole_head_too(data: bytes) -> None:
    assert whole_head(data) is None


@pytest.mark.parametrize("bad", [b"\x00", b"\n", b"\x7f", b"\r"])
@pytest.mark.parametrize("filler", [b" ", b"\t", b"a", b"X"])
def test_a_field_that_ends_badly_is_not_tried_in_every_way(filler: bytes, bad: bytes) -> None:
    """It would take a second each time; so many of them are read in a few milliseconds."""
    lines = (filler * 16_000 + bad, b"X:" + filler * 16_000 + bad, b"X:" + filler * 8_000 + b":" + filler * 8_000 + bad)
    began = time.perf_counter()
    for line in lines * 10:
        assert whole_head(b"POST / HTTP/1.1\r\n" + line + b"\r\n\r\n") is None
    assert time.perf_counter() - began < 5


@given(requests=st.lists(REQUESTS, min_size=1, max_size=3), cuts=st.lists(st.integers(0, 300)), answered=st.booleans())
@example(requests=[GET, POST], cuts=[], answered=False)
@example(requests=[POST, GET], cuts=[], answered=True)
@example(requests=[with_field(b"X-Blanks: \t a \t ")], cuts=[], answered=False)
@example(requests=[POST + POST], cuts=[len(POST)], answered=True)
@example(requests=[POST, GET], cuts=[len(POST) - 2, len(POST) + 3], answered=True)
@example(requests=[GET.replace(b"1.1", b"1.0"), GET], cuts=[len(GET)], answered=True)
async def test_both_ways_read_the_same(requests: list[bytes], cuts: list[int], answered: bool) -> None:
    data = b"".join(requests)
    places = [0, *sorted(cuts), len(data)]
    reads = [data[start:end] for start, end in pairwise(places) if data[start:end]]
    at_once = what_is_read(reads, answered=answered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_module, "whole_head", lambda _: None)
        assert what_is_read(reads, answered=answered) == at_once
