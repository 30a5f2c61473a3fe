"""Images, audio and files in messages: taken from a user, and refused where they stand."""

from typing import Any

import pytest

from gateway_project.agents.request import AudioPart, ContentPart, FilePart, ImagePart, TextPart
from gateway_project.transport.errors import APIError
from tests.completions.test_schema import CALL, HELLO, RESULT, asked, refusal

IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/cat.png", "detail": "low"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "hi.txt"}}


def parts(*content: dict[str, Any]) -> tuple[ContentPart, ...]:
    """What an agent is asked by a user message of these parts."""
    return asked({"role": "user", "content": list(content)}).messages[0].content


@pytest.mark.compliance("Chat Completions", "ChatCompletionRequestUserMessageContentPart")
def test_a_users_parts_keep_their_order_and_know_their_place() -> None:
    assert parts({"type": "text", "text": "look"}, IMAGE, AUDIO, FILE) == (
        TextPart("look"),
        ImagePart(where="messages[0].content[1].image_url", source="https://a.example/cat.png", detail="low"),
        AudioPart(where="messages[0].content[2].input_audio", source="UklGRg=="),
        FilePart(
            where="messages[0].content[3].file.file_data", source="data:text/plain;base64,aGk=", filename="hi.txt"
        ),
    )


def test_what_the_client_sent_is_in_no_repr() -> None:
    assert "a.example" not in repr(parts(IMAGE))


@pytest.mark.parametrize("part", [IMAGE, AUDIO, FILE])
@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([{"role": "system"}], "messages[0]"),
        ([{"role": "assistant"}], "messages[0]"),
        ([HELLO, {"role": "assistant", "tool_calls": [CALL]}, RESULT], "messages[2]"),
    ],
)
def test_only_a_user_sends_them(messages: list[dict[str, Any]], place: str, part: dict[str, Any]) -> None:
    error = refusal(*messages[:-1], messages[-1] | {"content": [part]})
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", f"{place}.content[0].type")


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        ({"type": "image_url"}, "missing_required_parameter", "image_url"),
        ({"type": "image_url", "image_url": {}}, "missing_required_parameter", "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "x", "detail": "sharp"}}, "invalid_value", "image_url.detail"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "flac"}}, "invalid_value", "input_audio.format"),
        ({"type": "file", "file": {}}, "missing_required_parameter", "file.file_data"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "unsupported_parameter", "file.file_id"),
        ({"type": "video_url", "video_url": {}}, "unsupported_parameter", "type"),
    ],
)
def test_what_is_wrong_with_a_part_is_named(part: dict[str, Any], code: str, param: str) -> None:
    error: APIError = refusal({"role": "user", "content": [part]})
    assert (error.code, error.param) == (code, f"messages[0].content[0].{param}")
