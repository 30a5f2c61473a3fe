"""``GATEWAY["INPUTS"]``: what is taken besides text, and from which hosts it is fetched."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

INPUTS_ABOVE_ZERO = frozenset(
    {"PART_BYTES", "TOTAL_BYTES", "CONCURRENT_FETCHES", "CONNECT_SECONDS", "FETCH_SECONDS"}
    | {"TEXT_CHARACTERS", "TEXT_SECONDS", "PDF_PAGES", "CONVERSIONS"}
)
WEB_PORTS = frozenset({80, 443})
"""What an entry without a port means."""

_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry. ``*.`` stands for any name below, not for the name itself."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an entry; an IPv6 address with a port stands in brackets.

        Raises:
            ValueError: when it is no host.
        """
        host, port = text.lower(), None
        if match := re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?", host):
            host, port = match[1].strip("[]"), int(match[2]) if match[2] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(text)
        try:
            return cls(str(ipaddress.ip_address(host)), port)
        except ValueError:
            if not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
                raise ValueError(text) from None
        return cls(host, port)

    def matches(self, host: str, port: int) -> bool:
        """Whether it names `host`, in lower case and ASCII, at `port`."""
        if port not in ({self.port} if self.port else WEB_PORTS):
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


def names(patterns: Iterable[str], host: str, port: int) -> bool:
    """Whether one of these entries does."""
    return any(HostPattern.parse(text).matches(host, port) for text in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """``GATEWAY["INPUTS"]``: the images, sounds and files of one request. Sizes are those of the decoded bytes."""

    PARTS: int = 50
    URLS: int = 10
    PART_BYTES: int = 20 * 1024 * 1024
    TOTAL_BYTES: int = 50 * 1024 * 1024
    IMAGE_TYPES: tuple[str, ...] = ("image/jpeg", "image/png", "image/gif", "image/webp")
    AUDIO_TYPES: tuple[str, ...] = ("audio/wav", "audio/mpeg")
    FILE_TYPES: tuple[str, ...] = (
        *("text/plain", "text/markdown", "text/html", "text/csv"),
        *("application/json", "application/pdf"),
    )
    HOSTS: tuple[str, ...] = ()
    PRIVATE_HOSTS: tuple[str, ...] = ()
    CONCURRENT_FETCHES: int = 4
    CONNECT_SECONDS: float = 10
    FETCH_SECONDS: float = 30
    REDIRECTS: int = 3
    TEXT_CHARACTERS: int = 200_000
    TEXT_SECONDS: float = 20
    PDF_PAGES: int = 100
    CONVERSIONS: int = 2


def input_problems(inputs: InputSettings) -> Iterator[tuple[str, str, str | None]]:
    """Say what types alone do not show: the key, what is wrong, and a hint."""
    for key in ("HOSTS", "PRIVATE_HOSTS"):
        for text in getattr(inputs, key):
            try:
                HostPattern.parse(text)
            except ValueError:
                hint = "Write it as example.com, *.example.com, files.internal:8080 or [::1]:8080."
                yield key, f"{text!r} is no host.", hint
    for key in ("IMAGE_TYPES", "AUDIO_TYPES", "FILE_TYPES"):
        for text in getattr(inputs, key):
            if not re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", text):
                yield key, f"{text!r} is no media type such as 'image/png'.", None
    if inputs.PART_BYTES > inputs.TOTAL_BYTES:
        yield "PART_BYTES", "must not be more than 'TOTAL_BYTES'.", None
