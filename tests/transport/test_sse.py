"""Events of a stream are one line of data each, for clients too that split where Python does."""

import json

from gateway_project.transport import sse

ODD = "a\x85b\u2028c\u2029d\x1ce\x0bf\x0cg\r\nh\U0001f600\u00c2\u2027"


def test_a_frame_has_no_line_end_but_its_own() -> None:
    assert json.loads(sse.text(ODD)) == ODD
    assert len(sse.text(ODD).decode().splitlines()) == 1
    assert sse.texts([ODD, "x"], between=b",").decode().splitlines() == [sse.text(ODD).decode() + ',"x"']
    assert json.loads(sse.data_event({"a": ODD})[6:]) == {"a": ODD}
    for frame, lines in ((sse.data_event({"a": ODD}), 2), (sse.named_event("x", {"a": ODD}), 3)):
        assert len(frame.decode().splitlines()) == lines


def test_a_lone_surrogate_beside_one_is_replaced() -> None:
    assert json.loads(sse.text("\ud83d\u2028")) == "\ufffd\u2028"
    assert len(sse.text("\ud83d\u2028").decode().splitlines()) == 1
