"""What a refusal of the upstream means for the client."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_project.agents.errors import AgentError, ContextOverflow, UpstreamError, UpstreamTimeout
from gateway_project.agents.openai.errors import MAX_MESSAGE, frame_error, redactor, refusal, retry_after

_KEY = "shopkey_0123456789abcdef"  # looks like nothing that is recognised by its form
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _refusal(status: int, error: Any = None, *, body: bytes | None = None, retry: str | None = None) -> AgentError:
    payload = body if body is not None else json.dumps({"error": error}).encode()
    headers = {} if retry is None else {"retry-after": retry}
    return refusal(status, headers, payload, redact=redactor((_KEY,)), now=_NOW)


_ENVELOPE = {"message": "What it says.", "type": "some_error", "param": "top_p", "code": "odd_value"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, (400, "invalid_request_error", "odd_value", "top_p", "What it says.")),
        (404, (404, "invalid_request_error", "odd_value", "top_p", "What it says.")),
        (409, (409, "invalid_request_error", "odd_value", "top_p", "What it says.")),
        (413, (413, "invalid_request_error", "odd_value", "top_p", "What it says.")),
        (422, (422, "invalid_request_error", "odd_value", "top_p", "What it says.")),
        (401, (502, "server_error", "upstream_authentication_error", None, None)),
        (402, (502, "server_error", "upstream_authentication_error", None, None)),
        (403, (502, "server_error", "upstream_authentication_error", None, None)),
        (429, (429, "rate_limit_error", "odd_value", None, None)),
        (405, (502, "server_error", "upstream_error", None, "What it says.")),
        (408, (504, "server_error", "upstream_timeout", None, "What it says.")),
        (500, (502, "server_error", "upstream_error", None, "What it says.")),
        (502, (502, "server_error", "upstream_error", None, "What it says.")),
        (503, (503, "server_error", "upstream_error", None, "What it says.")),
        (504, (504, "server_error", "upstream_timeout", None, "What it says.")),
        (529, (503, "server_error", "upstream_error", None, "What it says.")),
        (307, (502, "server_error", "upstream_error", None, "What it says.")),
    ],
)
def test_the_table_of_statuses(status: int, expected: tuple[Any, ...]) -> None:
    error = _refusal(status, _ENVELOPE)
    seen = (error.status, error.type, error.code, error.param, error.message)
    assert seen[:4] == expected[:4]
    if expected[4] is None:
        assert "What it says" not in error.message, "the operator's account is no business of the client's"
    else:
        assert error.message == expected[4]


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 429, 500, 503, 504])
@pytest.mark.parametrize("code", ["odd_value", "context_length_exceeded"])
def test_for_the_record_there_is_a_sentence_that_quotes_nothing(status: int, code: str) -> None:
    error = _refusal(status, {"message": "Could not parse 'My diagnosis is X'.", "code": code})
    recorded = error.message if error.record_as is None else error.record_as
    assert recorded.startswith("The upstream")
    assert "diagnosis" not in recorded
    assert status == 429 or "diagnosis" in error.message, "the client is told"
    frame = frame_error({"message": "Could not parse 'My diagnosis is X'.", "code": code}, redactor(()))
    assert frame.record_as is not None
    assert "diagnosis" not in frame.record_as


def test_the_classes_say_whose_fault_it_is() -> None:
    assert isinstance(_refusal(500), UpstreamError)
    assert isinstance(_refusal(504), UpstreamTimeout)
    assert not isinstance(_refusal(400), UpstreamError)


@pytest.mark.parametrize(
    ("status", "code", "param"),
    [(400, "invalid_request", None), (404, "model_not_found", "model"), (413, "request_too_large", None)],
)
def test_a_bare_envelope_gets_a_code(status: int, code: str, param: str | None) -> None:
    error = _refusal(status, {"message": "m", "code": None, "type": "invalid_request_error"})
    assert (error.code, error.param) == (code, param)


def test_a_404_that_is_no_openai_error_is_a_wrong_address_and_not_the_clients_fault() -> None:
    assert _refusal(404, body=b'{"detail":"Not Found"}').status == 502
    assert _refusal(404, body=b"<h1>nginx</h1>").status == 502


@pytest.mark.parametrize("body", [b"", b"<html>secret internals", b"{", b"[]", b'{"detail":"x"}', b'{"error":null}'])
def test_what_is_no_envelope_is_not_passed_on(body: bytes) -> None:
    assert _refusal(400, body=body).message == "The upstream refused the request with status 400."
    assert _refusal(500, body=body).message == "The upstream failed with status 500."


@pytest.mark.parametrize(
    "error",
    [
        {"message": "m", "code": "context_length_exceeded"},
        {"message": "m", "code": 400, "type": "exceed_context_size_error"},
        {"message": "This model's maximum context length is 8 tokens.", "type": "BadRequestError", "code": 400},
    ],
)
def test_a_conversation_that_is_too_long_is_called_so(error: Any) -> None:
    found = _refusal(400, error)
    assert isinstance(found, ContextOverflow)
    assert found.code == "context_length_exceeded"


def test_an_error_may_be_a_string() -> None:
    assert _refusal(400, "model is required").message == "model is required"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "template", ["key {}", "{}", "a\n{}\tb", "x" * (MAX_MESSAGE - 10) + "{}", "Bearer {}", "{} and {} again"]
)
def test_the_key_is_never_repeated(status: int, template: str) -> None:
    said = template.replace("{}", _KEY)
    error = _refusal(status, {"message": said, "code": _KEY, "param": _KEY, "type": _KEY})
    everything = f"{error!r} {error} {vars(error)}"
    assert _KEY not in everything
    assert _KEY[:12] not in everything
    assert not error.__context__
    assert not error.__cause__


def test_a_part_of_a_key_in_the_form_that_openai_shows_is_taken_out_too() -> None:
    assert _refusal(400, {"message": "Wrong key: sk-abcd****wxyz."}).message == "Wrong key: [redacted]"


def test_messages_are_bounded_and_of_one_line() -> None:
    error = _refusal(400, {"message": "line\nline\x00\x1b[31m " + "x" * 100_000})
    assert len(error.message) == MAX_MESSAGE
    assert error.message.startswith("line line [31m x")
    assert error.message.isprintable()


@pytest.mark.parametrize("code", ["x" * 65, "no spaces", "<b>", "", 7.5, ["x"], "1x"])
def test_a_code_that_is_no_identifier_is_dropped(code: Any) -> None:
    assert _refusal(400, {"message": "m", "code": code}).code == "invalid_request"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30),
        ({"retry-after": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "99999999999"}, 86400),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Fri, 99 Jan 2026 03:04:35 GMT"}, None),
    ],
)
def test_when_to_try_again(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, _NOW) == expected


@pytest.mark.parametrize("status", [429, 500, 503])
def test_when_to_try_again_is_passed_on(status: int) -> None:
    assert _refusal(status, _ENVELOPE, retry="7").retry_after == 7
