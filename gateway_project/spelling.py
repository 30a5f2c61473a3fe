"""JSON in ASCII as Python's own writer spells it, by a writer that is made once instead of for each text."""

import json
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any

_make_writer: Any = getattr(json.encoder, "c_make_encoder", None)
"""What the library's encoder uses, where Python has it. It has no types."""


def speller(
    *, separators: tuple[str, str] | None = None, default: Callable[[Any], Any] | None = None
) -> Callable[[Any], str]:
    """What the `encode` of a `json.JSONEncoder` with the same arguments does, but that circles are not looked for.

    Raises of what is returned:
        TypeError, ValueError: as `encode`; for a circle RecursionError.
    """
    encoder = json.JSONEncoder(separators=separators, default=default, check_circular=False)
    if _make_writer is None:
        return encoder.encode
    write = _make_writer(
        None,
        encoder.default,
        encode_basestring_ascii,
        None,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )
    return lambda value: "".join(write(value, 0))
