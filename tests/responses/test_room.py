"""How much of earlier responses one request may bring back."""

import json
import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from gateway_project import clock, ids
from gateway_project.access.principal import Principal
from gateway_project.transport.errors import InvalidValue
from responses import room
from responses.context import recall
from responses.models import StoredResponse
from responses.schema import ResponseRequest
from tests.e2e.config import CONFIG

pytestmark = pytest.mark.django_db(transaction=True)

SOMEBODY = Principal("api_key", "1", "nina")


def message(text: str, *, parts: int = 1) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}] * parts
    return {"type": "message", "role": "user", "id": ids.item_id("msg", ids.new_run_id(), 1), "content": content}


def store(item: dict[str, Any], *, id_: uuid.UUID | None = None, previous: uuid.UUID | None = None) -> uuid.UUID:
    """A response that answered `item`."""
    run_id = id_ or ids.new_run_id()
    StoredResponse.objects.create(
        id=run_id,
        principal_kind=SOMEBODY.kind,
        principal_id=SOMEBODY.id,
        previous=previous,
        status="completed",
        created_at=clock.now(),
        expires_at=clock.now().replace(year=2996),
        input=json.dumps([item]),
        body=json.dumps({"output": []}),
    )
    return run_id


async def recalled(**payload: Any) -> int:
    """How many items a request with this brings along."""
    whole = {"model": "scripted/echo", "input": "hello"} | payload
    request = ResponseRequest.parse(whole)
    context = await recall(request, whole, run_id=ids.new_run_id(), model="echo", principal=SOMEBODY)
    return len(context.items)


def chain(length: int, **item: Any) -> str:
    last = None
    for _ in range(length):
        last = store(message("x" * 1000, **item), previous=last)
    assert last is not None
    return ids.response_id(last)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(room, "_PARTS", 100)
    with override_settings(GATEWAY=CONFIG | {"LIMITS": {"BODY_BYTES": 2000}}):
        yield


async def test_a_conversation_goes_on_until_it_is_too_long() -> None:
    assert await recalled(previous_response_id=await sync_to_async(chain)(5)) == 6
    with pytest.raises(InvalidValue, match="too long") as caught:
        await recalled(previous_response_id=await sync_to_async(chain)(9))
    assert caught.value.param == "previous_response_id"


async def test_a_conversation_goes_on_until_it_has_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BODIES", 1000)
    assert await recalled(previous_response_id=await sync_to_async(chain)(2, parts=40)) == 3
    with pytest.raises(InvalidValue, match="too long"):
        await recalled(previous_response_id=await sync_to_async(chain)(3, parts=40))


async def test_an_item_that_is_named_again_and_again_counts_each_time() -> None:
    item = message("x" * 1000)
    await sync_to_async(store)(item, id_=ids.run_of_item(item["id"]))
    reference = {"type": "item_reference", "id": item["id"]}
    assert await recalled(input=[reference] * 5) == 5
    with pytest.raises(InvalidValue, match="too long") as caught:
        await recalled(input=[reference] * 9)
    assert caught.value.param == "input"
