"""The WebSocket at ``/v1/responses``: responses one after the other, on one connection.

Source: Open Responses, OpenAPI file, ``x-openresponses-websocket``.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from channels.exceptions import StopConsumer

from gateway_project import ids
from gateway_project.agents.errors import AgentError
from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.body import Body
from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.errors import APIError, InvalidValue, told
from gateway_project.transport.socket import (
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    POLICY_VIOLATION,
    SERVICE_RESTART,
    error_frame,
)
from gateway_project.transport.socket_consumer import SocketConsumer

from .memory import Remembered
from .turn import Turn

_MOST_WAITING = 8
_MOST_UNANSWERED = 100
"""Messages that may wait for their answer, refusals and errors among them, before the socket is closed."""


class ResponsesSocket(SocketConsumer):
    """Answers come in the order of the messages, errors too: no frame tells which message it answers.

    The handler of a message only puts it in line, so that the next one, ``websocket.disconnect``, can be
    dispatched while the agent works (platform fact 1).
    """

    async def __call__(self, scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve the socket. However this ends, no run on it outlives it."""
        self._line: deque[Turn | AgentError] = deque()
        self._news = asyncio.Event()
        self._turn: Turn | None = None
        self._remembered: Remembered | None = None
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._time_is_up = False
        self._is_leaving = False
        self._cause = AbortCause.CLIENT_DISCONNECT
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            await self._killed()
            raise
        finally:
            self._closed()

    def opened(self) -> None:
        """From here on messages are answered."""
        loop = asyncio.get_running_loop()
        self.socket.on_lost = self._drop_turn
        current_supervisor().farewells.add(self._leave)
        self._worker = loop.create_task(self._answer(), name=f"socket:{ids.new_run_id()}")
        seconds = gateway_settings().RESPONSES.SOCKET_SECONDS
        if seconds:
            self._timer = loop.call_later(seconds, self._expire)

    async def websocket_receive(self, message: Mapping[str, Any]) -> None:
        """Put a message in line."""
        if self.socket.is_lost:
            raise StopConsumer
        if len(self._line) >= _MOST_UNANSWERED:
            await self.socket.close(POLICY_VIOLATION, "too many messages wait for their answer")
            raise StopConsumer
        try:
            self._line.append(self._read(message))
        except AgentError as error:
            self._line.append(error)
        self._news.set()

    async def websocket_disconnect(self, message: Mapping[str, Any]) -> None:
        """The socket is closed; by the server itself, if it says so while it ends (uvicorn)."""
        if message.get("code") == SERVICE_RESTART and current_supervisor().draining:
            self._cause = AbortCause.SHUTDOWN
        raise StopConsumer

    def _read(self, message: Mapping[str, Any]) -> Turn:
        """What a message asks for.

        Raises:
            AgentError: when it is no ``response.create``.
        """
        assert self.principal is not None
        text = message.get("text")
        if text is None:
            raise InvalidValue("Send JSON in text frames, not binary ones.")
        body = Body(gateway_settings().LIMITS.BODY_BYTES)
        body.feed(text.encode("utf-8", "surrogatepass"))
        payload = body.json()
        kind = payload.pop("type", None)
        if kind != "response.create":
            raise InvalidValue("The type of a message must be 'response.create'.", param="type")
        turns = sum(isinstance(item, Turn) for item in self._line)
        if turns < _MOST_WAITING:
            return Turn(self.scope, self.principal, payload)
        # Of what is refused anyway no more is kept than its record needs.
        names = ("model", "previous_response_id", "stream_id")
        little: dict[str, Any] = {name: payload[name] for name in names if name in payload}
        return Turn(self.scope, self.principal, little, refusal=_LineIsFull())

    async def _answer(self) -> None:
        """Answer one message after the other, until no more are answered."""
        try:
            while await self._next():
                item = self._line.popleft()
                if isinstance(item, Turn):
                    await self._take_turn(item)
                else:
                    await self.socket.write(error_frame(item))
            await self._end()
        except Exception as error:  # noqa: BLE001 (a fault of ours must not leave the client waiting)
            told(error, ids.new_run_id())
            await self.socket.close(INTERNAL_ERROR)

    async def _next(self) -> bool:
        """Wait for a message; False when no more are answered."""
        while not (self._line or self._is_leaving or self._time_is_up or self.socket.is_lost):
            self._news.clear()
            await self._news.wait()
        return bool(self._line) and not (self._time_is_up or self.socket.is_lost)

    async def _take_turn(self, turn: Turn) -> None:
        self._turn = turn
        await turn.start(self.socket, self._remembered)
        if self._time_is_up:
            self._expire()
        await turn.ended()
        self._remembered = turn.kept_in_mind()
        self._turn = None

    def _expire(self) -> None:
        """The socket is as old as it may get."""
        self._time_is_up = True
        self._news.set()
        if self._turn is not None and self._turn.run is not None:
            self._turn.run.abort(AbortCause.TIMEOUT, reason="its WebSocket had been open for as long as it may be")

    async def _leave(self) -> None:
        """The process ends, and no run is left: answer what waits (it is refused), then close."""
        self._is_leaving = True
        self._news.set()
        if self._worker is not None:
            await asyncio.wait({self._worker})

    async def _end(self) -> None:
        if self.socket.is_lost:
            self._drop_all()
        elif self._time_is_up:
            await self._end_of_time()
        else:
            await self.socket.close(GOING_AWAY)

    async def _end_of_time(self) -> None:
        error = _TimeIsUp(gateway_settings().RESPONSES.SOCKET_SECONDS)
        while self._line:
            item = self._line.popleft()
            if isinstance(item, Turn):
                item.refuse(error)
        await self.socket.write(error_frame(error))
        await self.socket.close(NORMAL)

    def _drop_turn(self, cause: AbortCause) -> None:
        """Writing found that the client is gone, or stuck."""
        if cause is AbortCause.CLIENT_DISCONNECT and current_supervisor().draining:
            return  # The server itself may have closed it: the message of that, which follows, tells.
        if self._turn is not None:
            self._turn.drop(cause)

    async def _killed(self) -> None:
        """The server kills its applications (fact 3): end the run, and tell the client that we leave."""
        self._cause = AbortCause.SHUTDOWN
        if self._turn is not None and self._turn.run is not None:
            self._turn.run.abort(self._cause)
            await asyncio.shield(self._turn.run.closed)  # Others wait for it, too.
        await self.socket.close(GOING_AWAY)

    def _closed(self) -> None:
        self.socket.lost()
        self.socket.on_lost = None
        if self._worker is not None:
            current_supervisor().farewells.discard(self._leave)
            self._worker.cancel()
            self._worker = None
        if self._timer is not None:
            self._timer.cancel()
        self._drop_all()

    def _drop_all(self) -> None:
        for turn in (self._turn, *self._line):
            if isinstance(turn, Turn):
                turn.drop(self._cause)
        self._line.clear()


class _LineIsFull(AgentError):
    """More messages wait than may."""

    code = "queue_full"
    type = "rate_limit_error"
    status = 429

    def __init__(self) -> None:
        super().__init__(f"At most {_MOST_WAITING} messages may wait on a connection.", retry_after=1)


class _TimeIsUp(APIError):
    """A connection lasts so long and no longer."""

    code = "websocket_connection_limit_reached"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"A connection may be open for {seconds:g} seconds. Open a new one to go on.")
