"""How Twisted reads HTTP/1.1 for daphne, mended: flow control, bounds, deadlines, and refusals in our own form.

Facts 5 to 7 of the platform: back-pressure, a body that is not buffered beyond its limit, a disconnect that pipelined
bytes do not hide.
"""

import asyncio
import re
from collections.abc import Sequence

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder

from gateway_project.conf import gateway_settings
from gateway_project.transport.body import exceeds
from gateway_project.transport.claims import is_claimed, origin_form
from gateway_project.transport.errors import APIError, BadFraming, BodyTooLarge, BodyTooSlow, HeadersTooLarge
from gateway_project.transport.servers.flow import Flow
from gateway_project.transport.servers.head import whole_head
from gateway_project.transport.servers.idle import OneIdleTimer
from gateway_project.transport.servers.prompt import PromptWriting, write_no_more, write_promptly
from gateway_project.transport.servers.refusals import raw_refusal
from gateway_project.transport.servers.request import GatewayRequest

_PIPELINED_LIMIT = 0x4000
_LENGTH_DIGITS = 19
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_NEVER_A_LINE = re.compile(rb"[\x00-\x08\n-\x0c\x0e-\x1f\x7f]|\r(?!\Z)")
"""What makes the beginning of a line one that no CR LF can end well: it would be waited for in vain."""
_LINGER_SECONDS = 5
"""How long a client that was refused may go on sending before it is cut off."""


class GatewayChannel(OneIdleTimer, HTTPChannel):
    """A connection that can be waited for, whose end is seen behind pipelined bytes, and which says why it closes."""

    _path: bytes
    """The target of the request that is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self._pipelined = 0
        self._is_refused = False
        self._is_others = False
        """Whether the body of a request is being read that is none of ours."""
        self._is_secure = False
        self._host: IAddress | None = None
        self._prompt: PromptWriting | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- writing --------------------------------------------------------------------------------------

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """The connection is there."""
        super().connectionMade()
        self._prompt = write_promptly(self.transport)
        self._is_secure = super().isSecure()

    def getHost(self) -> IAddress:  # noqa: N802 (Twisted's name)
        """Where it was accepted. Twisted would ask the system for each request."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def isSecure(self) -> bool:  # noqa: N802 (Twisted's name)
        """Whether it is encrypted. Twisted looks for an adapter each time."""
        return self._is_secure

    def gather(self) -> None:
        """Leave what is written from here on to `write_now`, which is called in this same turn."""
        if self._prompt is not None:
            self._prompt.gather()

    def write_now(self) -> None:
        """Hand what was written to the kernel, as far as it takes it."""
        if self._prompt is not None:
            self._prompt.now()

    def cut(self) -> None:
        """Close the connection at once, whatever waits to be sent."""
        self.transport.abortConnection()

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The write buffer is full."""
        super().pauseProducing()
        self.flow.full()

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """The write buffer is empty."""
        super().resumeProducing()
        self.flow.emptied()
        if self._is_refused and not self.isSecure():
            self.transport.loseWriteConnection()  # Twisted asks us for more instead of doing what it was told before.

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """The connection is gone."""
        self._set_timer(None)
        super().connectionLost(reason)
        self.forget_timeout()
        self.flow.lost(self.transport)
        write_no_more(self.transport)

    def give_away(self) -> None:
        """From here on the connection is a WebSocket's, which hears of its end."""
        self.forget_timeout()
        self._set_timer(None)
        self.requests.clear()

    # -- reading --------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Read on; what a refused client still sends is dropped."""
        if self._is_refused:
            return
        if not self._read_head_at_once(data):
            super().dataReceived(data)
        if self._timer is None and self._waits_for_more():
            self._set_timer(gateway_settings().LIMITS.BODY_SECONDS)
        if self.line_mode and _NEVER_A_LINE.search(self._buffer):
            self.refuse(BadFraming())

    def _read_head_at_once(self, data: bytes) -> bool:
        """Read a head that came as a whole, and what follows. Returns whether it was one.

        Twisted cuts off line after line, and looks at each field half a dozen times.
        """
        is_between = self.line_mode and not (self._buffer or self._busyReceiving or self.paused)
        found = whole_head(data) if is_between and "_command" not in vars(self) else None
        if found is None:
            return False
        line, fields, rest = found
        self.resetTimeout()
        super().lineReceived(line)
        has_begun = "_command" in vars(self) and not self._is_refused
        if not has_begun:
            return True
        headers = self.requests[-1].requestHeaders
        for name, value in fields:
            if name.lower() not in _LENGTHS:
                headers.addRawHeader(name, value.rstrip(b" \t"))
            elif not self.headerReceived(name + b":" + value):
                return True
        super().lineReceived(b"")
        if rest and not (self._is_refused or self.transport.disconnecting):
            super().dataReceived(rest)
        return True

    def _waits_for_more(self) -> bool:
        """Whether a request that is ours, or may be, did not come as a whole."""
        return not (self._handlingRequest or self._is_refused or self._is_others)

    def lineReceived(self, line: bytes) -> bool:  # noqa: N802 (Twisted's name)
        """Read the request line or a header. Returns whether to stop reading."""
        super().lineReceived(line)
        return self._is_refused

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802 (Twisted's name)
        """The request line or a header is endless."""
        self.refuse(HeadersTooLarge())

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802 (Twisted's name)
        """Read a header. Returns whether the request may go on."""
        return not self._is_refused and super().headerReceived(line)

    def allHeadersReceived(self) -> None:  # noqa: N802 (Twisted's name)
        """Refuse what need not be read, before the client is told to continue with its body."""
        if self._is_refused:
            return
        request = self.requests[-1]
        self._take_absolute_target(request)
        request.is_ours = is_claimed(self._path)
        request.may_be_socket = is_claimed(self._path, "websocket")
        if any(
            coding.lower() != b"chunked" for coding in request.requestHeaders.getRawHeaders(b"transfer-encoding", ())
        ):
            self.refuse(BadFraming("The only Transfer-Encoding is 'chunked'."))
            return
        limit = gateway_settings().LIMITS.BODY_BYTES
        length = request.requestHeaders.getRawHeaders(b"content-length", [b"0"])[0].decode("ascii")
        if request.is_ours and exceeds(length, limit):
            self.refuse(BodyTooLarge(limit))
            return
        if not request.is_ours:
            self._is_others = True
            self._set_timer(None)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:  # noqa: N802 (Twisted's name)
        """The request is whole, if it was not refused on the way."""
        self._is_others = False
        if not self._is_refused:
            self._set_timer(None)
            super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Keep reading behind a request, so that the client's leaving is seen (fact 7).

        Twisted stops reading after 16 KiB of pipelined bytes and is then blind. Beyond that limit the bytes
        are dropped and the connection is closed after the answer.
        """
        if not self._handlingRequest:
            self._pipelined = 0
            super().rawDataReceived(data)
            self._check_chunk()
        elif self._pipelined + len(data) <= _PIPELINED_LIMIT:
            self._pipelined += len(data)
            self._dataBuffer.append(data)
        else:
            self._dataBuffer.clear()
            self.persistent = 0

    def _check_chunk(self) -> None:
        """Refuse a chunk that can never be one, or that is announced to be too large, before it is waited for."""
        decoder = self._transferDecoder
        if isinstance(decoder, _ChunkedTransferDecoder):
            limit = gateway_settings().LIMITS.BODY_BYTES
            if decoder.state in ("CHUNK_LENGTH", "TRAILER") and _NEVER_A_LINE.search(decoder._buffer):
                self.refuse(BadFraming())
            elif decoder.state == "BODY" and self.requests[-1].is_ours and decoder.length > limit:
                self.refuse(BodyTooLarge(limit))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:  # noqa: N802 (Twisted's name)
        """Look at a header. Twisted would raise at a length of more digits than Python's `int` takes."""
        if header == b"Content-Length" and len(data) > _LENGTH_DIGITS and data.isdigit():
            self.refuse(BodyTooLarge(gateway_settings().LIMITS.BODY_BYTES))
        return not self._is_refused and super()._maybeChooseTransferDecoder(header, data)

    def _take_absolute_target(self, request: GatewayRequest) -> None:
        """A client may name the whole URL; its authority then stands for the Host (RFC 9112, section 3.2.2)."""
        parts = origin_form(self._path)
        if parts is not None and is_claimed(parts[1]):
            authority, self._path = parts
            request.requestHeaders.setRawHeaders(b"host", [authority])

    # -- refusing -------------------------------------------------------------------------------------

    def refuse(self, error: APIError) -> None:
        """Say why no more is read, and close the connection once the client has had the time to read it.

        To close while the client still sends would make its system drop what it has not read yet (RFC 9112,
        section 9.6).
        """
        if self._is_refused:
            return
        self._is_refused = True
        self.setTimeout(None)
        self.transport.write(raw_refusal(error, self._origins()))
        if self.isSecure():
            self.loseConnection()
        else:
            self.transport.loseWriteConnection()
        self._set_timer(_LINGER_SECONDS)

    def _origins(self) -> Sequence[bytes]:
        """Which page asks, where the path of the request that is being read is known to be ours."""
        request = self.requests[-1] if self.requests else None
        return request.requestHeaders.getRawHeaders(b"origin", ()) if request is not None and request.is_ours else ()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 (Twisted's name)
        """Twisted's own refusal."""
        too_many = self._receivedHeaderCount > self.maxHeaders
        self.refuse(HeadersTooLarge() if too_many or self._receivedHeaderSize > self.totalHeadersSize else BadFraming())

    def _set_timer(self, seconds: float | None) -> None:
        """Have `_out_of_time` called in so many seconds; never for none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._timer = None
        if self._is_refused or not (self.requests or self._buffer.strip()):
            self.transport.abortConnection()  # Nobody waits for an answer.
        else:
            self.refuse(BodyTooSlow(gateway_settings().LIMITS.BODY_SECONDS))
