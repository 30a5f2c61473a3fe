"""Server-sent events, however the bytes of them are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.agents.errors import UpstreamError
from gateway_project.agents.openai.sse import SSEParser

_LINES = st.lists(
    st.one_of(
        st.sampled_from([b"", b": comment", b"event: x", b"id: 1", b"data", b"data:", b"retry: 5", b"error: 1"]),
        st.binary(max_size=12).map(lambda value: b"data:" + value.translate(None, b"\r\n")),
        st.binary(max_size=12).map(lambda value: b"data: " + value.translate(None, b"\r\n")),
    ),
    max_size=20,
)


def _events(*reads: bytes) -> list[bytes]:
    parser = SSEParser()
    return [event for read in reads for event in parser.feed(read)] + parser.close()


def test_an_event_is_its_data() -> None:
    assert _events(b"data: one\n\ndata: two\n\n") == [b"one", b"two"]


def test_all_events_of_one_read_come_at_once() -> None:
    assert SSEParser().feed(b"data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4") == [b"1", b"2", b"3"]


def test_line_ends_may_be_crlf_and_the_space_may_be_missing() -> None:
    assert _events(b"data:one\r\n\r\ndata: two\r\n\r\n") == [b"one", b"two"]


def test_only_one_space_is_taken_away() -> None:
    assert _events(b"data:   x\n\n") == [b"  x"]


def test_comments_and_other_fields_are_skipped() -> None:
    assert _events(b": keep-alive\n\nevent: m\nid: 7\nretry: 1\ndata: x\nunknown\n\n") == [b"x"]


def test_several_data_lines_are_one_event() -> None:
    assert _events(b"data: {\ndata: }\n\n") == [b"{\n}"]


def test_the_last_blank_line_may_be_missing() -> None:
    assert _events(b"data: a\n\ndata: b\n") == [b"a", b"b"]
    assert _events(b"data: a\n\ndata: b") == [b"a", b"b"]


def test_an_error_field_is_an_error_frame() -> None:
    assert _events(b'error: {"code":500}\n\n') == [b'{"error": {"code":500}}']


@given(
    lines=_LINES,
    newline=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=30),
)
def test_any_split_of_the_bytes_gives_the_same_events(lines: list[bytes], newline: bytes, cuts: list[int]) -> None:
    whole = newline.join(lines)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    reads = [whole[start:end] for start, end in pairwise(places)]
    assert b"".join(reads) == whole
    assert _events(*reads) == _events(whole)
    assert _events(*(whole[at : at + 1] for at in range(len(whole)))) == _events(whole)


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param([b"data: " + b"x" * 100], id="a line without end"),
        pytest.param([b"x" * 10] * 10, id="a line without end, in small reads"),
        pytest.param([b"data: " + b"x" * 100 + b"\n\n"], id="a whole line"),
        pytest.param([b": " + b"x" * 100 + b"\n\n"], id="a comment"),
        pytest.param([b"data: xxxxxxxxxx\n"] * 10, id="an event of many lines"),
    ],
)
def test_what_is_too_long_is_refused_before_it_is_held(reads: list[bytes]) -> None:
    parser = SSEParser(limit=64)
    with pytest.raises(UpstreamError, match="too long"):
        for read in reads:
            parser.feed(read)


def test_the_limit_is_for_an_event_and_not_for_the_stream() -> None:
    parser = SSEParser(limit=64)
    for _ in range(100):
        assert parser.feed(b"data: " + b"x" * 40 + b"\n\n") == [b"x" * 40]
