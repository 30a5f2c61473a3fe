"""A conversation that was compacted: a summary that the client carries, and that nobody but this gateway can make.

Source: Open Responses, "POST /responses/compact", ``CompactionBody``. The client knows the conversation, so that
``encrypted_content`` need not be hidden from it: it is signed and compressed.
"""

from django.core import signing

from gateway_project.agents.request import Message, TextPart
from gateway_project.transport.errors import InvalidValue

_SALT = "gateway.responses.compaction"
_LEAD = "Summary of the conversation so far:\n\n"


def sealed(summary: str) -> str:
    """The ``encrypted_content`` of a summary."""
    return signing.dumps(summary, salt=_SALT, compress=True)


def opened(content: str, where: str) -> Message:
    """The message that a compaction stands for.

    Raises:
        InvalidValue: when it was not made here, or with a secret that is not used any more.
    """
    try:
        summary = signing.loads(content, salt=_SALT)
    except (signing.BadSignature, ValueError):
        raise InvalidValue("The compaction cannot be read here.", param=f"{where}.encrypted_content") from None
    return Message("system", (TextPart(_LEAD + summary),))
