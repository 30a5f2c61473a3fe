"""How the raw text of reasoning is streamed: the one event that the two protocols name differently.

Open Responses has ``response.reasoning.delta`` and ``.done``, OpenAI ``response.reasoning_text.delta`` and ``.done``
(their OpenAPI files). OpenAI's own clients know the latter only, and a stream helper of the one for JavaScript fails at
what it does not know: whoever asks with one of them is told in OpenAI's words.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any


class Dialect(Enum):
    """What stands before ``.delta`` and ``.done``."""

    OPEN_RESPONSES = "response.reasoning"
    OPENAI = "response.reasoning_text"


_KEPT = re.compile(
    r'^event: response\.reasoning(?:_text)?\.(\w+)\ndata: \{"type":"response\.reasoning(?:_text)?\.', re.M
)
"""The beginning of such an event. No text has a line end in a frame, so that none looks like one."""


def dialect_of(scope: Mapping[str, Any]) -> Dialect:
    """OpenAI's where one of its official clients asks: all of them send ``x-stainless-lang``."""
    is_official = any(name == b"x-stainless-lang" for name, _ in scope["headers"])
    return Dialect.OPENAI if is_official else Dialect.OPEN_RESPONSES


def retold(frames: str, dialect: Dialect) -> str:
    """Frames as they were kept, in whichever dialect their run was asked for, in this one."""
    if "response.reasoning" not in frames:
        return frames
    return _KEPT.sub(rf'event: {dialect.value}.\1\ndata: {{"type":"{dialect.value}.', frames)
