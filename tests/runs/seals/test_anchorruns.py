"""``manage.py anchorruns``: printed, mailed, posted; and what was kept so finds a tail that was cut off."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from gateway_project import clock
from gateway_project.runs.models import Verification
from gateway_project.runs.seals import anchor
from tests.runs.seals.conftest import Execute, Sealed
from tests.runs.seals.test_manipulations import cut_tail

pytestmark = pytest.mark.django_db


class Place:
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[str, str, bytes]] = []
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                place.got.append((self.path, self.headers["Content-Type"], body))
                self.send_response(place.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/anchors"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.server.shutdown()
    made.server.server_close()


def run(name: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_what_was_kept_in_any_way_finds_a_truncated_tail(
    sealed: Sealed, attack: Execute, place: Place, tmp_path: Path
) -> None:
    printed = run("anchorruns", "--mail", "auditor@example.org", "--mail", "notary@example.org", "--post", place.url)
    [posted] = place.got
    assert posted == ("/anchors", "text/plain; charset=utf-8", printed.encode())
    [sent] = mail.outbox
    assert sent.to == ["auditor@example.org", "notary@example.org"]
    assert sent.body == printed
    kept = {
        "printed": printed.encode(),
        "mail": sent.message().as_bytes(),
        "pasted": f"Dear auditor,\r\n\r\n{printed}\r\nYours".encode(),
    }
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
        assert run("verifyruns", "--anchor", str(tmp_path / name)).startswith("Clean"), name
    chain = cut_tail(sealed, attack, 5)
    assert run("verifyruns").startswith("Clean"), "nothing in the database tells of it"
    for name in kept:
        with pytest.raises(CommandError):
            run("verifyruns", "--anchor", str(tmp_path / name))
        found = Verification.objects.latest("pk").first_break
        assert found == f"truncated tail: chain {chain} ends before seal 3, which an anchor names", name


def test_several_anchors_are_all_checked(sealed: Sealed, attack: Execute, tmp_path: Path) -> None:
    (tmp_path / "old").write_text(run("anchorruns"))
    cut_tail(sealed, attack, 5)
    (tmp_path / "new").write_text(run("anchorruns"))
    with pytest.raises(CommandError):
        run("verifyruns", "--anchor", str(tmp_path / "new"), "--anchor", str(tmp_path / "old"))


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_did_not_arrive_is_said(sealed: Sealed, place: Place, status: int) -> None:
    place.status = status
    with pytest.raises(CommandError, match=f"answered with {status}") as stopped:
        run("anchorruns", "--post", place.url)
    assert stopped.value.returncode == 1
    assert len(place.got) == 1, "no redirect is followed"


def test_nobody_there_is_said(sealed: Sealed, place: Place, settings: Any) -> None:
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": {"host": "127.0.0.1", "port": 1}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_PORT = smtp, 1
    with pytest.raises(CommandError) as stopped:
        run("anchorruns", "--mail", "auditor@example.org", "--post", "http://127.0.0.1:1/", "--post", place.url)
    said = str(stopped.value)
    assert "The mail was not sent" in said
    assert "http://127.0.0.1:1/: ClientConnectorError." in said
    assert len(place.got) == 1, "the others are tried all the same"


@pytest.mark.parametrize("url", ["ftp://example.org/", "example.org", "http://", "http://[", "file:///etc/passwd"])
def test_what_is_no_address_is_refused(db: None, url: str) -> None:
    with pytest.raises(CommandError, match="no http or https address"):
        run("anchorruns", "--post", url)


def test_what_was_cut_off_is_no_anchor(sealed: Sealed) -> None:
    lines = list(anchor.write([], at=clock.now()))
    assert anchor.read("\n".join(lines)) == []
    with pytest.raises(ValueError, match="cut off"):
        anchor.read(run("anchorruns").rpartition("#")[0])
    with pytest.raises(ValueError, match="no end of a chain"):
        anchor.read("# nothing\n")
