"""How an upstream's answer is read off the wire, however it is cut."""

import pytest

from gateway_project.agents.openai.wire import Answer, WireError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"
TRAILED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n000\r\nX-Sum: 1\r\n\r\n"
SIZED = HEAD + b"Content-Length: 11\r\n\r\nhello world"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED


def read(data: bytes, *cuts: int) -> tuple[Answer, bytes]:
    answer = Answer()
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        if start < end:
            answer.feed(data[start:end])
    assert all(answer.pieces), "an empty piece would be taken for the end"
    return answer, b"".join(answer.pieces)


@pytest.mark.parametrize("data", [CHUNKED, TRAILED, SIZED, CONTINUED])
def test_wherever_it_is_cut_it_is_the_same(data: bytes) -> None:
    for first in range(1, len(data)):
        for second in (first, min(first + 1, len(data)), (first + len(data)) // 2):
            answer, body = read(data, first, second)
            assert answer.head is not None
            assert (answer.head.status, answer.head.content_type) == (200, "text/event-stream")
            assert (body, answer.done, answer.can_follow) == (b"hello world", True, True), (first, second)


@pytest.mark.parametrize("data", [CHUNKED, TRAILED, SIZED])
def test_nothing_is_done_before_its_end(data: bytes) -> None:
    for end in range(len(data)):
        answer, _ = read(data[:end])
        assert not answer.done
        with pytest.raises(WireError):
            answer.end()


def test_without_a_length_it_ends_with_the_connection() -> None:
    answer, body = read(HEAD + b"\r\nhello")
    assert (body, answer.done) == (b"hello", False)
    answer.end()
    assert (answer.done, answer.can_follow) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n", id="it says so"),
        pytest.param(SIZED.replace(b"1.1", b"1.0", 1), id="HTTP/1.0"),
        pytest.param(SIZED + b"HTTP/1.1 200 OK", id="more came than was asked for"),
        pytest.param(CHUNKED + b"0", id="more came behind the chunks"),
    ],
)
def test_nothing_follows_on_this_connection(data: bytes) -> None:
    answer, _ = read(data)
    assert (answer.done, answer.can_follow) == (True, False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_what_has_no_body_is_done_with_its_head(status: bytes) -> None:
    answer, _ = read(b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert (answer.done, answer.can_follow) == (True, True)


def test_fields_of_one_name_are_a_list_and_names_have_no_case() -> None:
    answer, _ = read(b"HTTP/1.1 429 Slow down\r\nX-A: 1\r\nx-a: 2\r\nRETRY-AFTER:  7 \r\nContent-Length: 0\r\n\r\n")
    assert answer.head is not None
    assert answer.head.headers == {"x-a": "1, 2", "retry-after": "7", "content-length": "0"}


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        HEAD + b"no header\r\n\r\n",
        HEAD + b"X-Folded: a\r\n b\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\n",
        CHUNKED.replace(b"Transfer", b"Content-Length: 9\r\nTransfer", 1),
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 70_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: " + b"1" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_what_cannot_be_understood_is_said(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data)
