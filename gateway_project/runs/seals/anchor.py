"""Heads as text, to be kept where whoever changes the database cannot reach them."""

import email
import email.policy
import re
import socket
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

from gateway_project.runs.seals.canonical import HASH_BYTES
from gateway_project.runs.seals.chain import Head

_BEGIN, _END = "# Ends of the chains of seals", "# That is all of them."
_IS_MAIL = re.compile(r"^content-transfer-encoding:", re.IGNORECASE | re.MULTILINE)


def write(heads: Iterable[Head], *, at: datetime) -> Iterator[str]:
    """A line each: chain, number, hash; between two that say what this is."""
    yield f"{_BEGIN}, {at:%Y-%m-%dT%H:%M:%SZ}, {socket.gethostname()}"
    for head in heads:
        yield f"{head.chain} {head.number} {head.hash.hex()}"
    yield _END


def read(text: str) -> list[Head]:
    """What `write` wrote; also within other text, such as a whole mail with its headers.

    Raises:
        ValueError: naming the line that is none, or when there is none at all.
    """
    lines = [(number, line.strip()) for number, line in enumerate(_plain(text).splitlines(), start=1)]
    marks = [line for _, line in lines]
    begin = next((index for index, line in enumerate(marks) if line.startswith(_BEGIN)), None)
    if begin is not None:
        if _END not in marks[begin:]:
            raise ValueError("it is cut off")
        lines = lines[begin : marks.index(_END, begin)]
    found = []
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        try:
            chain, seal, hash_ = line.split()
            head = Head(uuid.UUID(chain), int(seal), bytes.fromhex(hash_))
        except ValueError:
            raise ValueError(f"line {number} is no head of a chain") from None
        if len(head.hash) != HASH_BYTES:
            raise ValueError(f"line {number} holds no whole hash")
        found.append(head)
    if not found and begin is None:
        raise ValueError("it holds no end of a chain")
    return found


def _plain(text: str) -> str:
    """The text of a mail; anything else as it is."""
    if not _IS_MAIL.search(text):
        return text
    body = email.message_from_string(text, policy=email.policy.default).get_body(("plain",))
    return str(body.get_content()) if body is not None else ""
