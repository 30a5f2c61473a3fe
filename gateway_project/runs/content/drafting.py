"""What a run was asked and answered → what is kept of it: digests, or texts that are redacted and bounded."""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway_project.conf import gateway_settings, import_dotted
from gateway_project.content_modes import ContentMode
from gateway_project.runs.content.cutter import Cutter, Redact
from gateway_project.runs.content.record import ContentRecord

logger = logging.getLogger("gateway.content")

_SALT_BYTES = 16


@dataclass(slots=True)
class Piece:
    """A part of an answer: a run of text, of reasoning, a refusal, or one call.

    Attributes:
        about: what it is: its ``type``, ``choice`` and, of a call, ``call_id`` and ``name``.
        text: as far as it was held in memory; of a call its arguments.
        characters: how many there were.
        delivered: how many of them, from the first on, were handed to the client.
        digest: SHA-256 of the draft's salt and of all of the text, also of what was not held.
    """

    about: Mapping[str, Any]
    text: str
    characters: int
    delivered: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All that is known of a run's content at its end."""

    run_id: uuid.UUID
    at: datetime
    mode: ContentMode
    asked: Mapping[str, Any]
    """With the list ``messages``; no binary data in it."""
    answered: Sequence[Piece]
    salt: bytes
    remarks: Sequence[str] = ()

    @property
    def size(self) -> int:
        """How many characters it holds."""
        return characters_of(self.asked) + sum(len(piece.text) for piece in self.answered)


def new_salt() -> bytes:
    """What a draft's digests are made with: without it nobody can look one up in a table."""
    return os.urandom(_SALT_BYTES)


def record_of(draft: Draft) -> ContentRecord:
    """What is kept of a draft; where redaction fails no text, but a digest. Never raises: a run's end waits for it."""
    try:
        return _record_of(draft)
    except BaseException as failure:  # noqa: BLE001 (JSON too deep to be written, say)
        logger.error("content.not_kept", extra={"run_id": draft.run_id, "error": type(failure).__name__})
        remarks = f"It could not be prepared ({type(failure).__name__}): nothing of it was kept."
        return ContentRecord(run_id=draft.run_id, at=draft.at, mode=draft.mode, remarks=remarks)


def kept_beside(text: str, mode: ContentMode, *, run_id: uuid.UUID, most: int) -> str | None:
    """What is kept outside of the content of a text that may quote it, at most so many characters.

    None where the mode keeps no texts, or redaction fails. Never raises: a run's end waits for it.
    """
    if mode not in (ContentMode.REDACTED, ContentMode.FULL):
        return None
    try:
        return Cutter(_hooks(mode), most).text(text)
    except BaseException as failure:  # noqa: BLE001 (a hook is foreign code; its message may hold the text)
        logger.error("content.not_kept", extra={"run_id": run_id, "error": type(failure).__name__, "mode": mode})
        return None


def _record_of(draft: Draft) -> ContentRecord:
    remarks = list(draft.remarks)
    record = ContentRecord(
        run_id=draft.run_id,
        at=draft.at,
        mode=draft.mode,
        request_characters=characters_of(draft.asked),
        answer_characters=sum(piece.characters for piece in draft.answered),
        delivered_characters=sum(piece.delivered for piece in draft.answered),
    )
    if draft.mode is not ContentMode.DIGEST:
        try:
            _fill_texts(record, draft, remarks)
        except BaseException as failure:  # noqa: BLE001 (a hook is foreign code; its message may hold the text)
            logger.error(
                "content.not_kept", extra={"run_id": draft.run_id, "error": type(failure).__name__, "mode": draft.mode}
            )
            record.request = record.answer = ""
            remarks = [*draft.remarks, f"Redaction failed ({type(failure).__name__}): no text was kept."]
    # A digest of the whole beside a text with gaps would let somebody try what stood in them.
    if draft.mode is not ContentMode.REDACTED or not record.request:
        record.request_digest = digest_of_request(draft.asked, draft.salt)
        record.answer_digest = digest_of_answer(draft.answered, draft.salt)
    record.remarks = " ".join(remarks)[:500]
    return record


def digest_of_request(asked: Mapping[str, Any], salt: bytes) -> str:
    """``sha256:<salt>:<digest>``, in hex: of the salt and the request as `dumps` spells it."""
    return _spelled(salt, dumps(asked))


def digest_of_answer(answered: Sequence[Piece], salt: bytes) -> str:
    """The same of an answer: of the salt and the list of its pieces, each as ``[about, SHA-256(salt + text)]``."""
    return _spelled(salt, dumps([[piece.about, piece.digest.hex()] for piece in answered]))


def _spelled(salt: bytes, text: str) -> str:
    return f"sha256:{salt.hex()}:{hashlib.sha256(salt + encoded(text)).hexdigest()}"


def encoded(text: str) -> bytes:
    """UTF-8, also of what is no text."""
    return text.encode("utf-8", "surrogatepass")


def dumps(value: Any) -> str:
    """JSON without spaces, its keys sorted."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


def characters_of(value: Any) -> int:
    """How many characters the texts in a value have. However deep it is: a client's JSON may be."""
    total, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, Mapping):
            left.extend(item.values())
        elif isinstance(item, Sequence):
            left.extend(item)
    return total


def _fill_texts(record: ContentRecord, draft: Draft, remarks: list[str]) -> None:
    hooks, most = _hooks(draft.mode), gateway_settings().CONTENT_CHARACTERS
    record.request = _storable(_kept_request(draft.asked, Cutter(hooks, most), remarks))
    record.answer = _storable(_kept_answer(draft.answered, Cutter(hooks, most), remarks))


def _hooks(mode: ContentMode) -> list[Redact]:
    """What each text of this mode goes through."""
    if mode is not ContentMode.REDACTED:
        return []
    hooks = [import_dotted(path, "GATEWAY['CONTENT_REDACTION']") for path in gateway_settings().CONTENT_REDACTION]
    if not hooks:
        raise LookupError("nothing redacts")
    return hooks


def _kept_request(asked: Mapping[str, Any], cutter: Cutter, remarks: list[str]) -> dict[str, Any]:
    """The newest messages first: of a long conversation what was asked last matters most."""
    messages: list[Any] = []
    for message in reversed(asked["messages"]):
        if cutter.is_full:
            break
        messages.append(cutter.value(message))
    left_out = len(asked["messages"]) - len(messages)
    kept: dict[str, Any] = {"messages": messages[::-1]}
    kept |= {key: cutter.value(value) for key, value in asked.items() if key != "messages" and not cutter.is_full}
    if left_out:
        kept["messages_left_out"] = left_out
        remarks.append(f"The request was cut: {left_out} earlier messages are left out.")
    elif cutter.has_cut or len(kept) < len(asked):
        remarks.append("The request was cut.")
    return kept


def _kept_answer(answered: Sequence[Piece], cutter: Cutter, remarks: list[str]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for piece in answered:
        if cutter.is_full:
            break
        about = {key: cutter.value(value) for key, value in piece.about.items()}
        begun = piece.text[: piece.delivered]
        text = cutter.text(piece.text, is_whole=len(piece.text) == piece.characters)
        entry = about | {"text": text}
        if piece.delivered < piece.characters:
            # Where the client's part ends in the text as it is kept: behind as much as both surely share.
            entry["delivered"] = _shared(text, cutter.redact(begun))
        kept.append(entry)
    if cutter.has_cut or len(kept) < len(answered):
        remarks.append("The answer was cut.")
    return kept


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    if one.startswith(other):
        return len(other)
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _storable(value: Any) -> str:
    """As JSON, without what a database refuses: lone surrogates. JSON spells NUL and its like itself."""
    return dumps(value).encode("utf-8", "replace").decode()
