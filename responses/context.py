"""What a request refers to: earlier responses that it continues, and single items of them."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from gateway_project import ids
from gateway_project.access.principal import Principal
from gateway_project.transport.errors import InvalidValue
from gateway_project.transport.schema import Few

from .conversation import ConversationRequest, Item, ResponseContext
from .items import InputItem, ReferenceItem
from .memory import Remembered
from .models import StoredResponse, StoredStatus
from .reading import read
from .room import Room
from .store import responses_of, turns_back

_CONTINUABLE = (StoredStatus.COMPLETED, StoredStatus.INCOMPLETE)
_MOST_TURNS = 1000
_FIRST_INPUT_ITEM = 0x8000
"""Input items are numbered from here on, output items from zero."""

_parse_items: TypeAdapter[list[InputItem]] = TypeAdapter(Few[InputItem])


def parse_response_id(text: str) -> uuid.UUID | None:
    """The run's id in ``resp_…``, or None when it is no response id."""
    return ids.parse_run_id(text) if text.startswith("resp_") else None


async def recall(
    request: ConversationRequest,
    payload: Mapping[str, Any],
    *,
    run_id: uuid.UUID,
    model: str,
    principal: Principal,
    remembered: Remembered | None = None,
) -> ResponseContext:
    """Load what `request` refers to.

    Args:
        remembered: a response that need not be looked up, and may be stored nowhere.

    Raises:
        InvalidValue: for a response or an item that is not there, or is somebody else's: the two look the same; and
            for more of them than one request may bring back.
        DatabaseAway: when that cannot be told now.
    """
    earlier: Sequence[Item] = ()
    at_hand = remembered if remembered is not None and remembered.id == request.previous_response_id else None
    if at_hand is not None:
        earlier = at_hand.items
    elif request.previous_response_id is not None:
        earlier = await read(_earlier, request.previous_response_id, principal)
    raw = _raw_items(payload.get("input"))
    references = {index: item.id for index, item in enumerate(request.input_items) if isinstance(item, ReferenceItem)}
    if references:
        found = {item["id"]: item for item in earlier if "id" in item}
        missing = set(references.values()) - found.keys()
        if missing:
            found |= await read(_named_items, missing, principal)
        room = Room("input")
        sizes = {id_: len(json.dumps(found[id_])) for id_ in set(references.values()) & found.keys()}
        for index, id_ in references.items():
            if id_ not in found:
                raise InvalidValue(f"No item has the id {id_!r}.", param=f"input[{index}].id", code="item_not_found")
            room.take(sizes[id_], [found[id_]])
            raw[index] = found[id_]
    own = _with_ids(raw, run_id, known={item.get("id") for item in earlier})
    return ResponseContext(
        run_id=run_id,
        model=model,
        principal=principal,
        earlier=earlier,
        input=own,
        items=_parse_items.validate_python([*earlier, *own]) if earlier or references else (),
        earlier_is_stored=at_hand is None,
    )


def _raw_items(given: Any) -> list[Item]:
    """The input as a list; a string is one user message (Open Responses, "Items")."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    untyped = (
        {**item, "type": "message"} if item.get("type") is None and "role" in item else item for item in given or ()
    )
    return list(untyped)


_PREFIXES = {"function_call": "fc", "function_call_output": "fco", "reasoning": "rs", "compaction": "cmp"}


def _with_ids(items: Iterable[Item], run_id: uuid.UUID, known: set[Any]) -> list[Item]:
    """The items, each with an id that no other of the conversation has, also where a client sends one twice."""
    named: list[Item] = []
    for number, item in enumerate(items, _FIRST_INPUT_ITEM):
        if not isinstance(item.get("id"), str) or item["id"] in known:
            item = {**item, "id": ids.item_id(_PREFIXES.get(item.get("type", ""), "msg"), run_id, number)}
        known.add(item["id"])
        named.append(item)
    return named


def earlier_items(response: StoredResponse, principal: Principal) -> list[Item]:
    """The items that came before a response's own, as far back as responses are still there."""
    return _walk_back(response.previous, principal)[0] if response.previous else []


def _earlier(previous: str, principal: Principal) -> list[Item]:
    """The items of a chain of responses: input and output of each, in order."""
    first = parse_response_id(previous)
    if first is None:
        raise _not_found(previous)
    items, gone = _walk_back(first, principal)
    if gone is not None:
        raise _not_found(previous if gone == first else ids.response_id(gone))
    return items


def _walk_back(last: uuid.UUID, principal: Principal) -> tuple[list[Item], uuid.UUID | None]:
    """The items of the chain that ends with `last`, in order, and the response at which it is broken, if it is.

    Raises:
        InvalidValue: when it cannot be gone on from, or is too long.
    """
    turns: list[list[Item]] = []
    room = Room("previous_response_id")
    next_id: uuid.UUID | None = last
    for turn in turns_back(last, principal):
        if len(turns) >= _MOST_TURNS:
            break
        if turn.status not in _CONTINUABLE:
            message = f"The response {ids.response_id(turn.id)!r} is {turn.status}: there is nothing to continue."
            raise InvalidValue(message, param="previous_response_id")
        room.take(len(turn.input) + len(turn.body))
        turns.append(items_of(turn))
        room.take(0, turns[-1])
        next_id = turn.previous
    return [item for turn in reversed(turns) for item in turn], next_id


def items_of(response: StoredResponse) -> list[Item]:
    """What one response adds to a conversation."""
    return [*json.loads(response.input), *json.loads(response.body)["output"]]


def _named_items(names: Iterable[str], principal: Principal) -> dict[str, Item]:
    """Items by their ids, which tell the response that they belong to."""
    wanted = set(names)
    runs = {run for run in map(ids.run_of_item, wanted) if run is not None}
    room = Room("input")
    found: dict[str, Item] = {}
    for row in responses_of(principal).filter(pk__in=runs).iterator(chunk_size=10):
        room.take(len(row.input) + len(row.body))
        found |= {item["id"]: item for item in items_of(row) if item.get("id") in wanted}
    return found


def _not_found(previous: str) -> InvalidValue:
    return InvalidValue(
        f"Previous response with id {previous!r} not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
