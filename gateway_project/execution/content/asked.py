"""An agent's request as plain data, without the data of images, sounds and files."""

import hashlib
from binascii import Error as NotBase64
from binascii import a2b_base64
from dataclasses import asdict, fields
from typing import Any

from gateway_project.agents.request import (
    AgentRequest,
    AnyMedia,
    ContentPart,
    FilePart,
    ImagePart,
    MediaPart,
    Message,
    RefusalPart,
    TextPart,
)
from gateway_project.execution.inputs.source import declared_type, is_url, parted

_LEFT_OUT = frozenset({"run_id", "messages", "principal_id", "principal_label"})
"""What the run's own row tells, and what is spelled by itself."""

_DEFAULTS = {field.name: field for field in fields(AgentRequest)}


def as_plain(request: AgentRequest) -> dict[str, Any]:
    """All that the request says beyond the defaults; ``messages`` is always there."""
    plain: dict[str, Any] = {"messages": [_message(message) for message in request.messages]}
    for name, field in _DEFAULTS.items():
        value = getattr(request, name)
        if name not in _LEFT_OUT and value != field.default:
            plain[name] = _value(value)
    return {name: value for name, value in plain.items() if value not in ({}, None)}


def _message(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": [_part(part) for part in message.content]}
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_calls:
        plain["tool_calls"] = [asdict(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    return plain


def _part(part: ContentPart) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": part.type, "text": part.text}
        case RefusalPart():
            return {"type": part.type, "refusal": part.refusal}
        case _:
            return _media(part)


def _media(part: AnyMedia) -> dict[str, Any]:
    """What it is, and where it was to be had; of data that the request held the size and the digest."""
    plain: dict[str, Any] = {"type": part.type}
    if part.media_type:
        plain["media_type"] = part.media_type
    if isinstance(part, ImagePart) and part.detail is not None:
        plain["detail"] = part.detail
    if isinstance(part, FilePart) and part.filename is not None:
        plain["filename"] = part.filename
    if is_url(part.source):
        return plain | {"url": part.source}
    return plain | _data(part)


def _data(part: MediaPart) -> dict[str, Any]:
    declared, data = "", part.data
    if part.source:
        head, encoded = parted(part.source)
        declared = declared_type(head)
        try:
            data = a2b_base64(encoded)
        except (NotBase64, ValueError):  # It will be refused; what was sent is told from other nonsense all the same.
            data = encoded.encode("utf-8", "surrogatepass")
    plain: dict[str, Any] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"media_type": declared, **plain} if declared else plain


def _value(value: Any) -> Any:
    """A field of a request as JSON knows it; what has its default is left out."""
    if hasattr(value, "__dataclass_fields__"):
        default = {field.name: field.default for field in fields(value)}
        return {
            name: _value(getattr(value, name)) for name in default if getattr(value, name) not in (default[name], None)
        }
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value
