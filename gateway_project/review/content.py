"""What was asked and answered, as plain data, for those who may see it."""

import json
import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from gateway_project.conf import gateway_settings
from gateway_project.review.export import iso
from gateway_project.runs.models import RunContent
from gateway_project.runs.seals.canonical import CONTENT

VIEW_CONTENT = "gateway_runs.view_content"


class PieceDict(TypedDict):
    """A part of an answer. `delivered`: how many of its characters, from the first on, were handed to the client."""

    type: str
    choice: int
    phase: str | None
    call_id: str | None
    name: str | None
    text: str
    delivered: int


class ContentDict(TypedDict):
    """The content of a run, as its mode lets it be kept. A text that was not kept, or is erased, is null."""

    id: str
    mode: str
    kept_at: str
    remarks: str | None
    erased: bool
    request: dict[str, Any] | None
    request_digest: str | None
    request_characters: int
    answer: list[PieceDict] | None
    answer_digest: str | None
    answer_characters: int
    delivered_characters: int


def content_of(run_id: uuid.UUID) -> RunContent | None:
    """What is kept of a run. Whether the asker may see it is the caller's business, and so is recording the look."""
    return RunContent.objects.using(gateway_settings().DATABASE).filter(run=run_id).first()


def has_content(run_id: uuid.UUID) -> bool:
    """Whether anything is kept of a run."""
    return RunContent.objects.using(gateway_settings().DATABASE).filter(run=run_id).exists()


def content_as_dict(content: RunContent) -> ContentDict:
    """`content` under the keys that scripts and the API rely on."""
    return {
        "id": str(content.run_id),
        "mode": content.mode,
        "kept_at": iso(content.at),
        "remarks": content.remarks or None,
        "erased": is_erased(content),
        "request": _read(content.request),
        "request_digest": content.request_digest or None,
        "request_characters": content.request_characters,
        "answer": _pieces(content.answer),
        "answer_digest": content.answer_digest or None,
        "answer_characters": content.answer_characters,
        "delivered_characters": content.delivered_characters,
    }


def is_erased(content: RunContent) -> bool:
    """Whether what was kept was erased since."""
    return bool(CONTENT.erased({"salts": content.salts}))


def _read(text: str) -> Any:
    """JSON; null for nothing, and for what somebody has put there who is not us."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _pieces(text: str) -> list[PieceDict] | None:
    pieces = _read(text)
    if not isinstance(pieces, list):
        return None
    return [_piece(piece) for piece in pieces if isinstance(piece, Mapping)]


def _piece(piece: Mapping[str, Any]) -> PieceDict:
    text = str(piece.get("text", ""))
    return {
        "type": str(piece.get("type", "")),
        "choice": int(piece.get("choice", 0)),
        "phase": piece.get("phase"),
        "call_id": piece.get("call_id"),
        "name": piece.get("name"),
        "text": text,
        "delivered": min(int(piece.get("delivered", len(text))), len(text)),
    }
