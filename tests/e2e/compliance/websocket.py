"""A client of the WebSocket at ``/v1/responses``: one request at a time, on one connection."""

import json
import socket
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, Request, TextMessage

from tests import spec
from tests.e2e.compliance.suite import MODEL, Json, Turn, schema_of
from tests.e2e.gateway import Gateway


class Session:
    """An open connection. Use it in a ``with``."""

    def __init__(self, gateway: Gateway, *, timeout: float = 60) -> None:
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=timeout)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        request = Request(
            host=f"127.0.0.1:{gateway.port}",
            target="/v1/responses",
            extra_headers=[(b"authorization", f"Bearer {gateway.key}".encode())],
        )
        self._socket.sendall(self._protocol.send(request))
        answer = self._next()
        if not isinstance(answer, AcceptConnection):
            self._socket.close()
            status = answer.status_code if isinstance(answer, RejectConnection) else answer
            raise AssertionError(f"the handshake was refused: {status}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def create(self, given: Any, **fields: Any) -> Turn:
        """Ask for a response, and read until it ends or an error comes instead."""
        body = {"type": "response.create", "model": MODEL, "input": given, **fields}
        assert spec.faults(spec.OPEN_RESPONSES, "WebSocketResponseCreateEvent", body) == []
        self._socket.sendall(self._protocol.send(TextMessage(json.dumps(body))))
        turn = Turn()
        while not turn.over:
            event = self._message()
            turn.take(event, "WebSocketErrorEvent" if event["type"] == "error" else schema_of(event["type"]))
        return turn

    def _message(self) -> Json:
        text = ""
        while True:
            event = self._next()
            assert isinstance(event, TextMessage), f"the server sent {event}"
            text += event.data
            if event.message_finished and text != "[DONE]":
                message: Json = json.loads(text)
                return message
            if event.message_finished:
                text = ""

    def _next(self) -> Event:
        while not self._events:
            received = self._socket.recv(65536)
            self._protocol.receive_data(received or None)
            self._events += self._protocol.events()
        event = self._events.pop(0)
        assert not isinstance(event, CloseConnection), f"the server closed the connection: {event}"
        return event
