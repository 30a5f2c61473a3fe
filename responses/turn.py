"""One ``response.create`` of a WebSocket, from its message to its last event."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway_project import clock, ids
from gateway_project.access.principal import Principal
from gateway_project.agents.errors import AgentError
from gateway_project.conf import gateway_settings
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.errors import InvalidValue, UnsupportedParameter, told
from gateway_project.transport.intake import Work
from gateway_project.transport.socket import Socket, error_frame

from .conversation import ResponseContext
from .dialect import dialect_of
from .encoder import ResponseBuilder
from .intake import ResponseIntake, stores
from .keeper import AnswerKeeper
from .memory import Remembered, remember
from .models import StoredStatus
from .schema import ResponseRequest
from .socket_outlet import SocketOutlet

_OF_HTTP_ONLY = ("stream", "stream_options", "background")
"""Fields that have no meaning here (Open Responses, ``WebSocketResponseCreateEvent``)."""


class Turn(ResponseIntake):
    """A response that is made on a socket. All its frames carry the `stream_id` that its message had, if any.

    Args:
        scope: of the handshake.
        payload: the message without its `type`.
        refusal: why it is refused without being looked at.
    """

    def __init__(
        self,
        scope: Mapping[str, Any],
        principal: Principal,
        payload: dict[str, Any],
        *,
        refusal: AgentError | None = None,
    ) -> None:
        self.scope = scope
        self.principal = principal
        self.payload = payload
        self._lane = {"stream_id": payload.pop("stream_id")} if isinstance(payload.get("stream_id"), str) else {}
        self.run_id = ids.new_run_id()
        self.received_at = clock.now()
        self.run: ActiveRun | None = None
        self.record: RunRecord = self._record(payload)
        self._refusal = refusal
        self._is_recorded = False  # as one that had no run
        self._work: Work | None = None
        self._builder: ResponseBuilder | None = None
        self._outlet: SocketOutlet | None = None

    async def start(self, socket: Socket, remembered: Remembered | None) -> None:
        """Start its run, or say why not."""
        self.remembered = remembered
        try:
            if self._refusal is not None:
                raise self._refusal
            self._check_transport()
            self._launch(await self._take(), socket)
        except Exception as error:  # noqa: BLE001 (the last one who can still answer)
            self.refuse(error)
            await socket.write({**error_frame(told(error, self.run_id)), **self._lane})

    async def ended(self) -> None:
        """Wait until nothing more comes of it."""
        if self.run is not None and self._outlet is not None:
            await asyncio.wait({self.run.closed, self._outlet.over}, return_when=asyncio.FIRST_COMPLETED)

    def drop(self, cause: AbortCause) -> None:
        """It ends: its run is aborted, or it never had one, and the record says that."""
        if self.run is not None:
            self.run.abort(cause)
        elif not self._is_recorded:
            self._is_recorded = True
            current_supervisor().abandon(self.record, cause)

    def refuse(self, error: Exception) -> None:
        """Record that it gets no run."""
        self._is_recorded = True
        self._record_refusal(error)

    def kept_in_mind(self) -> Remembered | None:
        """What the socket remembers from here on: the latest response, if it is stored nowhere.

        A response that was continued in vain is forgotten (Open Responses, "WebSocket").
        """
        final = self._builder.final if self._builder is not None else None
        if self._work is None or final is None or final["status"] not in ("completed", "incomplete"):
            before = self.remembered
            failed_with_it = before is not None and before.id == self.payload.get("previous_response_id")
            return None if failed_with_it else before
        request, context = self._work.request, self._work.context
        assert isinstance(request, ResponseRequest)
        assert isinstance(context, ResponseContext)
        if stores(request):
            return None
        after = None if context.earlier_is_stored else self.remembered
        items = [*(context.earlier if after is None else ()), *context.input, *final["output"]]
        return remember(final["id"], items, after=after, at_most=gateway_settings().LIMITS.BODY_BYTES)

    def _launch(self, work: Work, socket: Socket) -> None:
        assert isinstance(work.request, ResponseRequest)
        supervisor = current_supervisor()
        self._work = work
        self._builder = ResponseBuilder(self._resource(work.request), dialect_of(self.scope))
        keeper = None
        if stores(work.request):
            keeper = AnswerKeeper(supervisor, self._builder, self._stored(work, StoredStatus.COMPLETED))
        self._outlet = SocketOutlet(
            socket, self._builder, keeper, marks=self._lane, parameter_names=self.parameter_names
        )
        self.run = supervisor.start(work.record, work.asked, work.agent, self._outlet)

    def _check_transport(self) -> None:
        for name in _OF_HTTP_ONLY:
            if name in self.payload:
                raise UnsupportedParameter(f"The parameter {name!r} has no place in a WebSocket message.", param=name)
        if self.payload.get("stream_id") is not None:
            raise InvalidValue("'stream_id' must be a string.", param="stream_id")
        if self.payload.get("generate") is False:
            raise UnsupportedParameter("A response that is not generated is not supported here.", param="generate")

    def _record(self, payload: Mapping[str, Any]) -> RunRecord:
        record = super()._record(payload)
        record.streaming = True
        record.parameters = {"transport": "websocket"}
        return record
