"""What the source of an input is, as the client spelled it: a URL, a data URL, or bare base64."""

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_DATA_URL_HEAD = 1000
"""How many characters of a data URL may stand before its data."""


def is_url(source: str) -> bool:
    """Whether the data is elsewhere."""
    return _URL.match(source) is not None


def parted(source: str) -> tuple[str, str]:
    """What stands before the comma of a data URL (RFC 2397), and its data; of bare base64 nothing, and all of it."""
    head, comma, _ = source[:_DATA_URL_HEAD].partition(",")
    if comma and head[:5].lower() == "data:":
        return head, source[len(head) + 1 :]
    return "", source


def declared_type(head: str) -> str:
    """The media type in the head of a data URL; empty where it has none."""
    return head[5:].partition(";")[0]
