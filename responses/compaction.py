"""A conversation that was compacted: a summary that the client carries, and that nobody but this gateway can make.

Source: Open Responses, "POST /responses/compact", ``CompactionBody``. The client knows the conversation, so that
``encrypted_content`` need not be hidden from it: it is signed and compressed.
"""

import json
import zlib

from django.core import signing

from gateway_project.agents.request import Message, TextPart
from gateway_project.transport.errors import InvalidValue

from .room import Room

_SALT = "gateway.responses.compaction"
_COMPRESSED = "."
"""With what `signing.dumps` marks what it has compressed."""
_LEAD = "Summary of the conversation so far:\n\n"


def sealed(summary: str) -> str:
    """The ``encrypted_content`` of a summary."""
    return signing.dumps(summary, salt=_SALT, compress=True)


def room() -> Room:
    """For the summaries of one request: as much as a body may inflate to."""
    return Room("input", bodies=1)


def opened(content: str, where: str, room: Room) -> Message:
    """The message that a compaction stands for.

    Raises:
        InvalidValue: when it was not made here, or with a secret that is not used any more; and when there is no room.
    """
    try:
        summary = json.loads(_inflated(signing.TimestampSigner(salt=_SALT).unsign(content), room))
    except (signing.BadSignature, ValueError, zlib.error):
        raise InvalidValue("The compaction cannot be read here.", param=f"{where}.encrypted_content") from None
    return Message("system", (TextPart(_LEAD + summary),))


def _inflated(value: str, room: Room) -> bytes:
    """The JSON that was given to `signing.dumps`. A few bytes may become very many: no more than there is room for."""
    data = signing.b64_decode(value.removeprefix(_COMPRESSED).encode())
    if value.startswith(_COMPRESSED):
        data = zlib.decompressobj().decompress(data, room.characters + 1)
    room.take(len(data))
    return data
