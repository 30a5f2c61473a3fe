"""Redacts what is to be kept of a content, and bounds it."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Redact = Callable[[str], str]
"""A hook of ``GATEWAY["CONTENT_REDACTION"]``: a text → the text without what must not be kept. It must be fast."""

MARGIN = 16_384
"""How many characters beyond a cut are looked at: a secret that the cut goes through must be found as a whole."""

_KEY_CHARACTERS = 1000
_DATA_URL = re.compile(r"data:([\w.+/-]{1,100});base64,([A-Za-z0-9+/=_-]{256,})")


@dataclass(slots=True)
class Cutter:
    """Redacts texts and lets through so many characters in all."""

    hooks: Sequence[Redact]
    left: int
    has_cut: bool = False
    _names: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is let through."""
        return self.left <= 0

    def redact(self, text: str) -> str:
        """The text after all hooks, however long."""
        for hook in self.hooks:
            text = hook(text)
            if not isinstance(text, str):
                raise TypeError("a hook gave no text")
        return _DATA_URL.sub(_without_data, text) if ";base64," in text else text

    def text(self, text: str, *, is_whole: bool = True) -> str:
        """The text as it may be kept. Redacted first and cut then, or half a secret might stay."""
        room = max(self.left, 0)
        looked_at = text[: room + MARGIN]
        cut = len(looked_at) < len(text) or not is_whole
        kept = self.redact(looked_at)
        if cut:
            kept = kept[: max(0, len(kept) - MARGIN)]
        if cut or len(kept) > room:
            self.has_cut = True
            kept = kept[:room]
        self.left -= len(kept) + 1
        return kept

    def value(self, value: Any) -> Any:
        """The same of a value with texts in it. What has no room any more is left out."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._entries(value)
        if isinstance(value, Sequence):
            items = []
            for item in value:
                if self.is_full:
                    self.has_cut = True
                    break
                items.append(self.value(item))
            return items
        self.left -= 1
        return value

    def _entries(self, value: Mapping[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if self.is_full:
                self.has_cut = True
                break
            name, secret = self._named(str(key))
            self.left -= len(name) + 1
            is_plain = isinstance(item, str | int | float) and not isinstance(item, bool)
            kept[name] = secret if secret is not None and is_plain else self.value(item)
        return kept

    def _named(self, key: str) -> tuple[str, str | None]:
        """A key as it may be kept; and what to keep of its value, where that is a secret by its name alone."""
        if key not in self._names:
            looked_at = key[: _KEY_CHARACTERS + MARGIN]
            kept = self.redact(looked_at)
            if len(looked_at) < len(key):
                kept = kept[: max(0, len(kept) - MARGIN)]
            self._names[key] = (kept[:_KEY_CHARACTERS], self._secret_named(key[-_KEY_CHARACTERS:]))
        return self._names[key]

    def _secret_named(self, name: str) -> str | None:
        """What to keep of a value with this name; None where the name does not make it a secret."""
        found = self.redact(f"{name}=x")
        if found.endswith("=x"):
            return None
        return found.removeprefix(f"{name}=") if found.startswith(f"{name}=") else "[redacted]"


def _without_data(match: re.Match[str]) -> str:
    """A data URL in a text: type, length and digest instead of the data."""
    data = match[2]
    return f"data:{match[1]};base64,[{len(data)} characters, sha256 {hashlib.sha256(data.encode()).hexdigest()}]"
