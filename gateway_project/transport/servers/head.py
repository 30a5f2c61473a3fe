"""The fields of a request's head, all at once where they are as they should be."""

import re
from collections.abc import Sequence

# Possessive: what is once taken is not given back, else a long field that ends badly would be tried in every way.
_FIELD = re.compile(
    rb"(?<=\n)"  # at the beginning of a line
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):"  # a token, with nothing between it and its colon (RFC 9112, section 5.1)
    rb"[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n"
)
_MOST_BYTES = 0x4000
"""Twisted's own bound, above which it refuses a head."""
_MOST_FIELDS = 100

Fields = Sequence[tuple[bytes, bytes]]


def whole_head(data: bytes) -> tuple[bytes, Fields, bytes] | None:
    """The first line, the fields and what follows; None for a head that is not whole, or in any way unusual.

    A value may have blanks at its end.
    """
    end = data.find(b"\r\n\r\n", 0, _MOST_BYTES)
    line = data.find(b"\r\n", 0, max(end, 0))
    if line <= 0:
        return None
    fields = _FIELD.findall(data, line, end + 2)
    if len(fields) > _MOST_FIELDS or len(fields) != data.count(b"\n", line + 2, end + 2):
        return None  # Some line is no field, or goes on in the next one.
    return data[:line], fields, data[end + 4 :]
