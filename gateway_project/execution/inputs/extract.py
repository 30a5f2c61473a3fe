"""A program: a file on standard input, its text as JSON on standard output. Run by `text`, alone and bounded.

``python extract.py html|pdf CHARACTERS PAGES SECONDS`` prints ``{"text", "whole"}`` or ``{"problem"}``. It imports
nothing of the project, so that it starts fast and a fault in a parser finds nothing here.
"""

import io
import json
import resource
import sys
from collections.abc import Iterator
from html.parser import HTMLParser

_MEMORY = 1024 * 1024 * 1024
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "head", "iframe", "object"})
_BLOCKS = frozenset(
    {"p", "div", "br", "li", "ul", "ol", "tr", "table", "section", "article", "header", "footer", "main", "nav", "hr"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote", "dt", "dd", "dl", "form", "figure", "figcaption"}
)


class VisibleText(HTMLParser):
    """Collects what a reader of the page would see. Lines are those of its blocks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._unseen: list[str] = []

    @property
    def text(self) -> str:
        """The lines, with white space as a browser shows it."""
        lines = (" ".join(line.split()) for line in "".join(self._pieces).split("\0"))
        return "\n".join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block, or something that is not seen."""
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "title" and self._unseen == ["head"]:
            self._unseen.append("")  # seen all the same
        elif tag in _BLOCKS:
            self._pieces.append("\0")
        elif tag in ("td", "th"):
            self._pieces.append(" ")
        if tag == "body":
            self._unseen.clear()  # a head need not be closed

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        elif tag == "title" and self._unseen[-1:] == [""]:
            self._unseen.pop()
            self._pieces.append("\0")
        elif tag in _BLOCKS:
            self._pieces.append("\0")

    def handle_data(self, data: str) -> None:
        """Take the text, if it is seen."""
        if not self._unseen or not self._unseen[-1]:
            self._pieces.append(data.replace("\0", " "))


def html_text(data: bytes) -> str:
    """The visible text of a page."""
    mark = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        page = data.decode("utf-16" if mark else "utf-8-sig")
    except UnicodeDecodeError:
        page = data.decode("cp1252", "replace")
    parser = VisibleText()
    parser.feed(page)
    parser.close()
    return parser.text


def pdf_pages(data: bytes, most: int) -> Iterator[str | None]:
    """The text of each page, at most so many; None where there are more.

    Raises:
        Unreadable: when a password is needed.
    """
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("The PDF file needs a password.")
    for number, page in enumerate(reader.pages):
        if number == most:
            yield None
            return
        yield page.extract_text()


class Unreadable(Exception):
    """Why a file has no text, for the client."""


def extract(kind: str, data: bytes, characters: int, pages: int) -> dict[str, object]:
    """What is printed."""
    if kind == "html":
        return {"text": html_text(data)[: characters + 1], "whole": True}
    found: list[str] = []
    for page in pdf_pages(data, pages):
        if page is None or sum(map(len, found)) > characters:
            return {"text": "\n\n".join(found)[: characters + 1], "whole": False}
        found.append(page)
    return {"text": "\n\n".join(found), "whole": True}


def main() -> None:
    """Read, bounded in memory, processor time and files; whatever goes wrong is a problem of the file."""
    kind, characters, pages, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        found = extract(kind, sys.stdin.buffer.read(), characters, pages)
    except Unreadable as why:
        found = {"problem": str(why)}
    except Exception:  # noqa: BLE001 (a parser's own errors are many, and all mean the same)
        found = {"problem": "The file cannot be read."}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
