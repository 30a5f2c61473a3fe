"""A WebSocket client over a raw connection: it speaks the protocol of a real library, and leaves as it likes."""

import json
from typing import Any, ClassVar, Literal

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.e2e.wire import Client, Leaving

SocketLeaving = Leaving | Literal["close"]
ENDS: tuple[str, ...] = ("response.completed", "response.incomplete", "response.failed", "error")


class SocketClient(Client):
    """One WebSocket. `response` is how the handshake was answered."""

    path: ClassVar[str] = "/v1/responses"

    def __init__(
        self,
        port: int,
        *,
        key: str | None,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
        host: str = "127.0.0.1",
        timeout: float = 60,
    ) -> None:
        super().__init__(port, host=host, timeout=timeout)
        uri = parse_uri(f"ws://127.0.0.1:{port}{self.path}")
        self.protocol = ClientProtocol(uri, subprotocols=subprotocols, max_size=None)  # type: ignore[arg-type]
        request = self.protocol.connect()
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        for name, value in (headers or {}).items():
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value
        self.protocol.send_request(request)
        self._push()
        self._events: list[Any] = []
        self._partial = b""
        response = self._next()
        assert isinstance(response, Response)
        self.response = response

    def create(self, model: str, **body: Any) -> None:
        """Ask for a response."""
        self.say({"type": "response.create", "model": model, "input": "hello", **body})

    def say(self, message: Any) -> None:
        """Send a text frame; what is no text is sent as JSON."""
        self.send_text(message if isinstance(message, str) else json.dumps(message))

    def send_text(self, text: str) -> None:
        """Send a text frame."""
        self.protocol.send_text(text.encode("utf-8", "surrogatepass"))
        self._push()

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame."""
        self.protocol.send_binary(data)
        self._push()

    def event(self) -> dict[str, Any]:
        """The next message."""
        while True:
            frame = self._next()
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CLOSE:
                raise EOFError(f"closed: {self.protocol.close_rcvd}")
            if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                self._partial += frame.data
                if frame.fin:
                    text, self._partial = self._partial, b""
                    message: dict[str, Any] = json.loads(text)
                    return message

    def events(self) -> list[dict[str, Any]]:
        """The messages of one answer, to its last."""
        found = [self.event()]
        while found[-1]["type"] not in ENDS:
            found.append(self.event())
        return found

    def read_text(self, word: str) -> None:
        """Read until a piece of the answer's text holds `word`."""
        while word not in str(self.event().get("delta", "")):
            pass

    def close_code(self) -> int | None:
        """Read to the end; the code that the server closed with, or None when it only hung up."""
        try:
            while True:
                self.event()
        except (EOFError, ConnectionError):
            received = self.protocol.close_rcvd
            return received.code if received else None

    def leave_socket(self, how: SocketLeaving) -> None:
        """Go away."""
        if how == "close":
            self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._push()
        else:
            self.leave(how)

    def _next(self) -> Any:
        """The handshake's response, or a frame. Pings are answered on the way."""
        while not self._events:
            data = self.socket.recv(65536)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            self._events = self.protocol.events_received()
            if self.protocol.handshake_exc is not None and not self._events:
                raise self.protocol.handshake_exc
            self._push()
            if not data and not self._events:
                raise EOFError("the connection was closed")
        return self._events.pop(0)

    def _push(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)
