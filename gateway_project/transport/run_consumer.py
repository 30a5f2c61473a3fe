"""A request for agent work: reads it, starts its run, and hears the client leave."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from channels.exceptions import StopConsumer

from gateway_project import clock
from gateway_project.access.authentication import header
from gateway_project.agents.errors import AgentError, UnsupportedRequest
from gateway_project.agents.registry import registry
from gateway_project.conf import gateway_settings
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause, Endpoint, RunStatus
from gateway_project.transport.body import Body
from gateway_project.transport.consumer import GatewayConsumer
from gateway_project.transport.direct import DirectOutlet
from gateway_project.transport.encoder import Encoder
from gateway_project.transport.errors import UnsupportedParameter
from gateway_project.transport.host import client_address
from gateway_project.transport.schema import RunContext, RunRequest


class RunConsumer(GatewayConsumer):
    """The base of both endpoints, which supply the request's schema and the reply's encoder.

    The handler of the body's last fragment starts the run and returns: only then can the next message,
    ``http.disconnect``, be dispatched while the agent works (platform fact 1).
    """

    methods: ClassVar[tuple[str, ...]] = ("POST",)
    endpoint: ClassVar[Endpoint]
    request_model: ClassVar[type[RunRequest]]
    parameter_names: ClassVar[Mapping[str, str]] = {}
    """This endpoint's names for fields of `AgentRequest`, where they differ."""

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the request. However this ends, the run does not outlive the client."""
        self.received_at: datetime = clock.now()
        self.body: Body | None = None
        self.run: ActiveRun | None = None
        self.record: RunRecord | None = None
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            await self._killed()
            raise
        finally:
            self._client_left()

    @abstractmethod
    def encoder(self, request: RunRequest, context: RunContext) -> Encoder:
        """The encoder for one answer."""

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Take a fragment of the body; with the last one, start the run."""
        try:
            if self.body is None:
                await self.check_request()
                self.body = self._open_body()
            self.body.feed(message.get("body", b""))
            if message.get("more_body"):
                return
            payload = self.body.json()
            self.record = self._record(payload)
            await current_supervisor().check_rate(self.record)
            self._start(payload, self.record)
        except Exception as error:  # noqa: BLE001 (the last one who can still answer)
            self._record_refusal(error)
            await self.refuse(error)
            raise StopConsumer from None

    async def _killed(self) -> None:
        """The server kills its applications; of the tasks they stored it knows nothing (fact 3)."""
        if self.run is not None:
            self.run.abort(AbortCause.SHUTDOWN)
            await self.run.closed

    def _client_left(self) -> None:
        if self.connection.complete:
            return  # The server's own "disconnect" after a finished response (fact 2).
        self.connection.lost()
        if self.run is not None:
            self.run.abort(AbortCause.CLIENT_DISCONNECT)

    def _open_body(self) -> Body:
        body = Body(gateway_settings().LIMITS.BODY_BYTES)
        names = (b"content-type", b"content-encoding", b"content-length")
        body.check_headers(*(header(self.scope, name) for name in names))
        return body

    def _start(self, payload: dict[str, Any], record: RunRecord) -> None:
        """Check the request and hand it to the supervisor.

        Raises:
            AgentError: when it is refused.
        """
        assert self.principal is not None
        request = self.request_model.parse(payload)
        target = registry().resolve(request.model, self.principal.agents)
        context = RunContext(run_id=self.run_id, model=target.model, principal=self.principal)
        asked = request.agent_request(context)
        try:
            target.agent.check_request(asked)
        except UnsupportedRequest as error:
            name = self.parameter_names.get(error.param or "", error.param)
            raise UnsupportedParameter(error.message, param=name) from None
        record.agent, record.model = target.agent.name, target.model
        record.parameters = request.recorded(payload)
        outlet = DirectOutlet(
            self.connection,
            self.encoder(request, context),
            heartbeat_seconds=gateway_settings().HEARTBEAT_SECONDS,
        )
        self.run = current_supervisor().start(record, asked, target.agent, outlet)
        self.connection.on_lost = self.run.abort

    def _record_refusal(self, error: Exception) -> None:
        """A refused request leaves a row too, once it is known whose it was."""
        if self.principal is not None and isinstance(error, AgentError):
            current_supervisor().reject(self.record or self._record({}), error)

    def _record(self, payload: Mapping[str, Any]) -> RunRecord:
        assert self.principal is not None
        model = payload.get("model")
        return RunRecord(
            id=self.run_id,
            status=RunStatus.QUEUED,
            endpoint=self.endpoint,
            received_at=self.received_at,
            requested_model=model if isinstance(model, str) else "",
            streaming=payload.get("stream") is True,
            principal_kind=self.principal.kind,
            principal_id=self.principal.id,
            principal_label=self.principal.label,
            client_address=client_address(self.scope),
            user_agent=header(self.scope, b"user-agent") or "",
            client_request_id=self.client_request_id(),
        )
