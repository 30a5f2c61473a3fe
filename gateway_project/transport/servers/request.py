"""An HTTP request in daphne, mended: bounds of its body, refusals in our form, a reply that is written in one piece."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from daphne.http_protocol import WebRequest
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, Request
from twisted.web.http_headers import Headers

from gateway_project import clock
from gateway_project.conf import gateway_settings
from gateway_project.octets import UNDERSCORE
from gateway_project.transport.errors import BadFraming, BodyTooLarge
from gateway_project.transport.servers.flow import buffered
from gateway_project.transport.servers.refusals import refusal

_write = Request.write
_ODD_IN_VALUE = b"\x0b\x0c\x1c\x1d\x1e\x85"
"""What daphne refuses in a field's value. Twisted has refused what is no name, and what ends lines."""


class GatewayRequest(WebRequest):
    """A request whose application may ask to be told when the client is gone."""

    raises_when_gone = False
    """Set by our consumers. Other applications, e.g. Django's, go on to be spared (daphne's own way)."""
    is_ours = False
    """Whether its path is one of the gateway's."""
    may_be_socket = False
    """Whether a WebSocket of the gateway's has this path."""
    _response_started: bool  # daphne's
    _head: bytes | None = None
    """The reply's head, until the body begins; empty afterwards. None where Twisted writes the reply."""

    # daphne asks for both several times a request. Its own say the same, in Python.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would parse a form, which may take it seconds, for nobody: an ASGI application reads it by itself.
        self._parsePOSTFormSubmission = False
        self._received = 0
        self._line = self.channel  # Twisted parts the two when the last part of the reply is written.

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        """Write a part of the reply. What our consumers say is written by `_say`, everything else as daphne does."""
        if message["type"] == "http.response.body" and self._response_started:
            if self.finished or self.channel is None:
                return
            is_last = not message.get("more_body")
            if self._head is not None:
                self._say(self._head, message.get("body", b""), is_last=is_last)
                message = {"type": "http.response.body"}
            elif not is_last:
                # daphne looks its way to this up in modules for each part.
                _write(self, message.get("body", b""))
            if is_last:
                super().handle_reply(message)
        elif self.raises_when_gone and self._has_body(message["status"]) and not self._response_started:
            self._response_started = True
            self.setResponseCode(message["status"])
            self._head = self._spelled_head(message.get("headers", ()))
        else:
            super().handle_reply(message)

    def cut(self) -> None:
        """Close the connection at once, whatever waits to be sent."""
        cut = getattr(self._line, "cut", None)  # HTTP/2 has another kind of channel.
        if cut is not None:
            cut()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """The connection is gone. Twisted parts the two from its side only."""
        super().connectionLost(reason)
        self._line = None

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet, as far as that is known."""
        return buffered(getattr(self._line, "transport", None))

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Keep a piece of the body, unless the body is too large by now."""
        self._received += len(data)
        limit = gateway_settings().LIMITS.BODY_BYTES
        if self.is_ours and self._received > limit:
            self.channel.refuse(BodyTooLarge(limit))
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        """Hand the request to the application."""
        for value in self.requestHeaders.getRawHeaders(b"daphne-root-path", ()):
            if not value.isascii():
                self.basic_error(400, b"Bad Request", "Invalid header value")
                return None
        if self.is_ours and not (self.may_be_socket and self.method == b"GET"):
            # HTTP it stays. A server may ignore the wish for another protocol (RFC 9110, section 7.8).
            self.requestHeaders.removeHeader(b"upgrade")
            if not self.server.proxy_forwarded_address_header:
                self._start_application()
                return None
        done = super().process()
        give_away = getattr(getattr(self, "channel", None), "give_away", None)
        if self.transport is None and give_away is not None:
            give_away()  # daphne has made it a WebSocket.
        return done

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """daphne's own refusal, of a header that it does not take."""
        if not self.is_ours or status >= 500 or self._response_started:
            super().basic_error(status, status_text, body)
            return
        error = BadFraming(f"The request cannot be read: {body[:1].lower()}{body[1:]}.")
        headers, content = refusal(error, self.requestHeaders.getRawHeaders(b"origin", ()))
        self.channel.persistent = 0
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})

    # -- the application ------------------------------------------------------------------------------

    def _start_application(self) -> None:
        """What daphne does for plain HTTP, at once: it waits for nothing, but by Twisted's means for what may wait."""
        self.request_start = clock.now().timestamp()
        path, _, self.query_string = self.uri.partition(b"?")
        headers = [(name, value) for name, values in self.requestHeaders.getAllRawHeaders() for value in values]
        if not self.uri.isascii():  # Newer versions of Twisted have refused it.
            self.basic_error(400, b"Bad Request", "Invalid characters in path")
            return
        values = b"".join([value for _, value in headers])
        if len(values.translate(None, _ODD_IN_VALUE)) < len(values):
            self.basic_error(400, b"Bad Request", "Invalid header value")
            return
        if hasattr(self.client, "port"):  # A socket file has neither host nor port.
            self.client_addr = [self.client.host, self.client.port]
            self.server_addr = [self.host.host, self.host.port]
        self.application_queue = self.server.create_application(self, self._scope(path, headers))
        if self.application_queue is not None:
            self.content.seek(0)
            self.application_queue.put_nowait({"type": "http.request", "body": self.content.read(), "more_body": False})

    def _scope(self, path: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The connection scope (ASGI specification, "HTTP Connection Scope")."""
        root_path = self.server.root_path
        # Without names that others could be taken for (CVE-2015-0219), as daphne does.
        told = [(name.lower(), value) for name, value in headers if UNDERSCORE not in name]
        for name, value in told:
            if name == b"daphne-root-path":
                root_path = unquote(value.decode("ascii"))
        return {
            "type": "http",
            "http_version": self.clientproto.rpartition(b"/")[2].decode("ascii"),
            "method": self.method.decode("ascii"),
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "root_path": root_path,
            "scheme": "https" if self.isSecure() else "http",
            "query_string": self.query_string,
            "headers": [field for field in told if field[0] != b"daphne-root-path"],
            "client": self.client_addr,
            "server": self.server_addr,
        }

    # -- a reply in one piece -------------------------------------------------------------------------

    def _has_body(self, status: int) -> bool:
        """Whether all that is said of the body is sent, over HTTP/1.1."""
        return bool(self.clientproto == b"HTTP/1.1" and self.method != b"HEAD" and status not in NO_BODY_CODES)

    def _spelled_head(self, given: Iterable[tuple[bytes, bytes]]) -> bytes:
        """What Twisted makes of the same headers, one by one: its order and its spelling."""
        fields = [
            (_field_name(name), value) for name, values in self.responseHeaders.getAllRawHeaders() for value in values
        ]
        fields += [(_field_name(name), value) for name, value in given]
        names = {name for name, _ in fields}
        if self.server.server_name and b"Server" not in names:
            fields.append((b"Server", self.server.server_name.encode()))
        if b"Content-Length" not in names:
            fields.append((b"Transfer-Encoding", b"chunked"))
            self.chunked = 1
        lines = [b"HTTP/1.1 %d %b" % (self.code, self.code_message), *(b"%b: %b" % field for field in fields), b"", b""]
        head = b"\r\n".join(lines)
        if head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
            return head
        return b"\r\n".join(map(_on_one_line, lines))

    def _say(self, head: bytes, body: bytes, *, is_last: bool) -> None:
        """Write what comes next, all of it at once."""
        self._head = b""
        self.startedWriting = 1
        self.sentLength += len(body)
        if self.chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
                self.chunked = 0  # Twisted would write this end, too.
        if head or body:
            self.channel.write(head + body)


@lru_cache(maxsize=256)
def _field_name(name: bytes) -> bytes:
    """A field's name as Twisted spells it.

    Raises:
        InvalidHeaderName: Twisted's, when it is none.
    """
    [(spelled, _)] = Headers({name: [b""]}).getAllRawHeaders()
    return bytes(spelled)


def _on_one_line(field: bytes) -> bytes:
    """A field without line ends, which nothing may bring into a head."""
    return b" ".join(field.splitlines())
