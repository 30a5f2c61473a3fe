"""A raw HTTP client that can leave in every way a real one can."""

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Leaving = Literal["fin", "rst", "half_close"]


@dataclass
class Reply:
    """What came back: status, headers (names in lower case) and the raw body, chunks joined."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, read as JSON; ``[DONE]`` as it is. Comments are left out."""
        frames = [frame for frame in self.body.decode().split("\n\n") if frame]
        data = [line[6:] for frame in frames for line in frame.split("\n") if line.startswith("data: ")]
        return [item if item == "[DONE]" else json.loads(item) for item in data]


class Client:
    """One connection, from the address `source` if it is named. The tests' fixtures close what a test leaves open."""

    opened: "ClassVar[list[Client]]" = []

    def __init__(self, port: int, *, host: str = "127.0.0.1", source: str | None = None, timeout: float = 60) -> None:
        source_address = None if source is None else (source, 0)
        self.socket = socket.create_connection((host, port), timeout=timeout, source_address=source_address)
        Client.opened.append(self)
        self.buffer = b""

    def send(
        self, method: str, path: str, *, key: str | None, body: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        """Send a request. A body that is no bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {"Host": "127.0.0.1"}
        if key:
            fields["Authorization"] = f"Bearer {key}"
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
        fields |= headers or {}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(head.encode("latin-1") + b"\r\n" + raw)

    def read_until(self, mark: bytes) -> bytes:
        """Read until `mark` was received; return all received so far, up to its end."""
        while mark not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"the connection was closed before {mark!r}; received: {self.buffer!r}")
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def read_head(self) -> Reply:
        """Read status and headers only."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status == 100:
            return self.read_head()
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        return Reply(status, headers, b"")

    def read_reply(self) -> Reply:
        """Read a whole reply."""
        reply = self.read_head()
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body = b"".join(self.read_chunks())
        elif reply.status != 204:
            reply.body = self._read_exactly(int(reply.headers["content-length"]))
        return reply

    def read_chunks(self) -> Iterator[bytes]:
        """Read a chunked body, one chunk after the other."""
        while (size := int(self.read_until(b"\r\n").strip(), 16)) > 0:
            yield self._read_exactly(size + 2)[:-2]
        self.read_until(b"\r\n")

    def leave(self, how: Leaving) -> None:
        """Go away."""
        if how == "half_close":
            self.socket.shutdown(socket.SHUT_WR)
            return
        if how == "rst":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close in the ordinary way."""
        self.socket.close()

    def is_closed_by_server(self) -> bool:
        """Whether the server closed the connection; waits for it up to the time-out."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _read_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"the connection was closed in the middle of the body: {self.buffer!r}")
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken


def ask(
    port: int, method: str, path: str, *, key: str | None, body: Any = None, headers: dict[str, str] | None = None
) -> Reply:
    """One whole exchange on a connection of its own."""
    client = Client(port)
    try:
        client.send(method, path, key=key, body=body, headers=headers)
        return client.read_reply()
    finally:
        client.close()


def refuses_connections(port: int) -> bool:
    """Whether nobody listens any more. A connection that was made just before is reset; that is no answer yet."""
    try:
        Client(port, timeout=2).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False
