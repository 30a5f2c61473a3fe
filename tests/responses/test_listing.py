"""Listed items keep to both protocols' schemas, however briefly their client sent them."""

from typing import Any

import pytest

from responses.listing import listed
from tests import spec
from tests.responses.asking import CALL, RESULT


@pytest.mark.compliance("OpenAI Responses", "GET /responses/{response_id}/input_items")
@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "user", "content": "hello"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "developer", "content": "Very.", "status": None},
        {"type": "message", "role": "assistant", "content": "Yes."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
        CALL,
        RESULT,
        {**RESULT, "output": [{"type": "input_text", "text": "sunny"}]},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "compaction", "encrypted_content": "x"},
        # As the official Python client's `model_dump()` has them.
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}], "phase": None},
        {**CALL, "namespace": None, "caller": None},
        {**RESULT, "output": [{"type": "input_file", "file_data": "data:,", "file_url": None, "file_id": None}]},
        {"type": "reasoning", "summary": [], "content": None, "encrypted_content": None, "status": None},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_file", "file_url": "https://a/b", "file_id": None}],
        },
    ],
)
def test_an_item_is_listed_whole(item: dict[str, Any]) -> None:
    found = listed({**item, "id": "item_1"})
    assert spec.faults(spec.OPENAI_RESPONSES, "ItemResource", found) == []
    assert spec.faults(spec.OPEN_RESPONSES, "ItemField", found) == []


def test_what_its_client_told_is_left_as_it_is() -> None:
    part = {"type": "output_text", "text": "One", "annotations": [], "logprobs": [{"token": "One"}]}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete", "content": [part], "x": 1}
    assert listed(item) == item
