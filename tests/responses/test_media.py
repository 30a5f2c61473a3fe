"""Images and files in the input: taken, and refused where they stand."""

from typing import Any

import pytest

from gateway_project.agents.request import FilePart, ImagePart, TextPart
from tests.responses.asking import CALL, RESULT, asked, refusal

URL = "https://a.example/cat.png"
IMAGE = {"type": "input_image", "image_url": URL, "detail": "high"}
FILE = {"type": "input_file", "file_data": "aGk=", "filename": "hi.txt"}


@pytest.mark.compliance("Open Responses", "InputImageContentParam")
@pytest.mark.compliance("Open Responses", "InputFileContentParam")
@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_parts_keep_their_order_and_know_their_place(role: str) -> None:
    by_url = {"type": "input_file", "file_url": URL}
    content = [{"type": "input_text", "text": "look"}, IMAGE, FILE, by_url]
    assert asked(input=[{"role": role, "content": content}]).messages[0].content == (
        TextPart("look"),
        ImagePart(where="input[0].content[1].image_url", source=URL, detail="high"),
        FilePart(where="input[0].content[2].file_data", source="aGk=", filename="hi.txt"),
        FilePart(where="input[0].content[3].file_url", source=URL),
    )


def test_the_result_of_a_call_may_be_a_picture() -> None:
    result = asked(input=[CALL, {**RESULT, "output": [IMAGE]}]).messages[1]
    assert result.content == (ImagePart(where="input[1].output[0].image_url", source=URL, detail="high"),)


@pytest.mark.parametrize("part", [IMAGE, FILE])
def test_an_assistant_sends_none(part: dict[str, Any]) -> None:
    error = refusal(input=[{"role": "assistant", "content": [part]}])
    assert (error.code, error.param) == ("invalid_value", "input[0].content[0].type")


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        ({"type": "input_image"}, "missing_required_parameter", "image_url"),
        ({"type": "input_image", "file_id": "file-1"}, "unsupported_parameter", "file_id"),
        ({"type": "input_image", "image_url": "x", "detail": "sharp"}, "invalid_value", "detail"),
        ({"type": "input_file", "filename": "x"}, "missing_required_parameter", "file_data"),
        ({"type": "input_file", "file_id": "file-1", "file_data": "x"}, "unsupported_parameter", "file_id"),
        ({"type": "input_file", "file_url": "x", "file_data": "x"}, "invalid_value", "file_url"),
        ({"type": "input_video", "video_url": "x"}, "unsupported_parameter", "type"),
    ],
)
def test_what_is_wrong_with_a_part_is_named(part: dict[str, Any], code: str, param: str) -> None:
    error = refusal(input=[{"role": "user", "content": [part]}])
    assert (error.code, error.param) == (code, f"input[0].content[0].{param}")
