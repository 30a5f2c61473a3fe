"""A webhook's receiver on a real socket, that checks signatures as Standard Webhooks says."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Message:
    """What came, and what was answered."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        """The payload."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """`answers` are given in turn, the last one for ever; a number above 1000 is a silence of so many ms, then 200."""

    answers: list[int] = field(default_factory=lambda: [204])
    messages: list[Message] = field(default_factory=list)
    secret: str = SECRET
    port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def accepted(self) -> list[Message]:
        """Those that were answered with a yes."""
        return [message for message in self.messages if message.status < 300]

    def check(self, message: Message) -> None:
        """Whether it is signed."""
        signed = b".".join(
            (message.headers["webhook-id"].encode(), message.headers["webhook-timestamp"].encode(), message.body)
        )
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert wanted in message.headers["webhook-signature"].split(" ")
        assert abs(time.time() - int(message.headers["webhook-timestamp"])) < 60  # noqa: TID251 (as a receiver does)
        assert message.headers["content-type"] == "application/json"


@contextmanager
def receiving(*answers: int) -> Iterator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver(list(answers) or [204])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.messages.append(Message(headers, body, status))
            if status > 1000:
                time.sleep(status / 1000)
                status = 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # It was given up.
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
