"""How the items that a response answered are listed: whole, where its client was allowed to be brief.

Source: OpenAI's OpenAPI file, ``ItemResource``; Open Responses, ``ItemField``.
"""

from typing import Any

from .conversation import Item

_WITH_STATUS = frozenset({"message", "function_call", "function_call_output", "reasoning"})
_REQUIRED_OF_PARTS: dict[str, dict[str, Any]] = {
    "output_text": {"annotations": [], "logprobs": []},
    "input_image": {"detail": "auto"},
}


def listed(item: Item) -> Item:
    """`item` with all that the schemas require of an item that stands in a conversation.

    Null is left out: clients send back what they got with all the keys that they know (``model_dump()``), and what may
    be null in a request may not in a list.
    """
    whole = {key: _without_nulls(value) for key, value in item.items() if value is not None}
    if item["type"] in _WITH_STATUS:
        whole["status"] = item.get("status") or "completed"
    if item["type"] == "message":
        whole["content"] = _parts(whole["content"], item["role"])
    if item["type"] == "reasoning":
        whole["summary"] = item.get("summary") or []
    return whole


def _without_nulls(value: Any) -> Any:
    """The parts of a list, without their keys that are null."""
    if not isinstance(value, list):
        return value
    return [
        {key: one for key, one in part.items() if one is not None} if isinstance(part, dict) else part for part in value
    ]


def _parts(content: str | list[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    return [
        part | {key: value for key, value in _REQUIRED_OF_PARTS.get(part["type"], {}).items() if part.get(key) is None}
        for part in content
    ]
