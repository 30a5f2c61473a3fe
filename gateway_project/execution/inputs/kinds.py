"""What some bytes are: judged from themselves first, from what they were called only where they do not tell."""

import re
from pathlib import PurePosixPath

_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF.{4}WEBP", "image/webp"),
        (rb"BM.{4}\x00{4}", "image/bmp"),
        (rb"II\*\x00|MM\x00\*", "image/tiff"),
        (rb"\x00\x00\x01\x00", "image/x-icon"),
        (rb".{4}ftyp(?:heic|heix|hevc|hevx)", "image/heic"),
        (rb".{4}ftyp(?:mif1|msf1)", "image/heif"),
        (rb".{4}ftyp(?:avif|avis)", "image/avif"),
        (rb".{4}ftypM4A", "audio/mp4"),
        (rb".{4}ftyp", "video/mp4"),
        (rb"RIFF.{4}WAVE", "audio/wav"),
        (rb"ID3[\x02-\x04]", "audio/mpeg"),
        (rb"\xff[\xf2\xf3\xfa\xfb]", "audio/mpeg"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "audio/aac"),
        (rb"OggS", "audio/ogg"),
        (rb"fLaC", "audio/flac"),
        (rb"\x1aE\xdf\xa3", "video/webm"),
        (rb"PK\x03\x04", "application/zip"),
        (rb"\x1f\x8b", "application/gzip"),
        (rb"\x7fELF|MZ", "application/octet-stream"),
        (rb"[\s\x00]{0,64}%PDF-", "application/pdf"),
    )
)
# Atomic: comments made to be matched in many ways must not hold up the process.
_HTML = re.compile(
    r"\s*+(?:<\?xml[^>]*>\s*+)?(?:(?><!--.*?-->)\s*+)*+<(?:!doctype html|html|head|body)\b", re.I | re.DOTALL
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_TEXTS = {"text/plain", "text/markdown", "text/html", "text/csv", "application/json"}
_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".csv": "text/csv",
    ".json": "application/json",
}


def media_type(data: bytes, *, declared: str = "", filename: str | None = None) -> str:
    """The media type of `data`.

    Args:
        declared: what the client or the server called it; parameters are ignored. Only tells texts apart.
    """
    for pattern, found in _SIGNATURES:
        if pattern.match(data):
            return found
    text = decode(data)
    if text is None:
        return "application/octet-stream"
    if _HTML.match(text[:4096]):
        return "text/html"
    named = declared.partition(";")[0].strip().lower()
    if named in _TEXTS - {"text/plain"}:
        return named
    return _BY_SUFFIX.get(PurePosixPath(filename or "").suffix.lower(), "text/plain")


def decode(data: bytes) -> str | None:
    """`data` as text, or None if it is none: UTF-8, UTF-16 with its mark, or what Windows once wrote."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            return None
    if _BINARY.search(data):
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
