"""A request for agent work: reads it, starts its run, and hears the client leave."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from channels.exceptions import StopConsumer

from gateway_project import clock
from gateway_project.access.authentication import header
from gateway_project.conf import gateway_settings
from gateway_project.execution.active_run import ActiveRun
from gateway_project.execution.outlet import Outlet
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.body import Body
from gateway_project.transport.bounded import Bounded
from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.consumer import GatewayConsumer
from gateway_project.transport.direct import DirectOutlet
from gateway_project.transport.encoder import Encoder
from gateway_project.transport.errors import BodyTooSlow
from gateway_project.transport.intake import Intake, Work
from gateway_project.transport.keeper import Keeper
from gateway_project.transport.schema import RunContext, RunRequest


class RunConsumer(Intake, GatewayConsumer):
    """The base of both endpoints, which supply the request's schema and the reply's encoder.

    The handler of the body's last fragment starts the run and returns: only then can the next message,
    ``http.disconnect``, be dispatched while the agent works (platform fact 1).
    """

    methods: ClassVar[tuple[str, ...]] = ("POST",)

    async def __call__(self, scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve the request. However this ends, the run does not outlive the client."""
        self.received_at: datetime = clock.now()
        self.body: Body | None = None
        self.has_come = False  # the request, as a whole
        self.payload: dict[str, Any] = {}
        self.run: ActiveRun | None = None
        self.record: RunRecord | None = None
        try:
            await super().__call__(scope, self._within_deadline(receive), send)
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
            self.has_come = True
            self.payload = self.body.json()
            await self.launch(await self._take())
        except Exception as error:  # noqa: BLE001 (the last one who can still answer)
            await self._refuse_run(error)

    def _within_deadline(self, receive: ASGIReceive) -> ASGIReceive:
        """`receive`, which gives a body that does not come to its end only so long. daphne has it whole already."""
        seconds = gateway_settings().LIMITS.BODY_SECONDS
        until = asyncio.get_running_loop().time() + seconds

        async def receive_in_time() -> Mapping[str, Any]:
            if self.has_come or not seconds:
                return await receive()
            try:
                return await Bounded(receive(), until - asyncio.get_running_loop().time())
            except TimeoutError:
                await self._refuse_run(BodyTooSlow(seconds))

        return receive_in_time

    async def _refuse_run(self, error: Exception) -> NoReturn:
        self._record_refusal(error)
        await self.refuse(error)
        raise StopConsumer from None

    async def launch(self, work: Work) -> None:
        """Start the run of a request that passed every check.

        Raises:
            AgentError: when there is no place for it.
        """
        self.run = current_supervisor().start(work.record, work.asked, work.agent, self.outlet(work))
        self.connection.on_lost = self.client_gone

    def outlet(self, work: Work) -> Outlet:
        """Where the run's events go: to the client that waits for them."""
        encoder = self.encoder(work.request, work.context)
        heartbeat = gateway_settings().HEARTBEAT_SECONDS
        return DirectOutlet(
            self.connection,
            encoder,
            heartbeat_seconds=heartbeat,
            keeper=self.keeper(work, encoder),
            parameter_names=self.parameter_names,
        )

    def keeper(self, work: Work, encoder: Encoder) -> Keeper | None:
        """What keeps the answer beside the client. Nobody, unless the endpoint has stored answers."""
        return None

    def client_gone(self, cause: AbortCause) -> None:
        """The client has left, or does not read: its run is stopped."""
        if self.run is not None:
            self.run.abort(cause)

    async def _killed(self) -> None:
        """The server kills its applications; of the tasks they stored it knows nothing (fact 3)."""
        if self.run is not None:
            self.run.abort(AbortCause.SHUTDOWN)
            await asyncio.shield(self.run.closed)  # Others wait for it, too.

    def _client_left(self) -> None:
        if self.connection.complete:
            return  # The server's own "disconnect" after a finished response (fact 2).
        self.connection.lost()
        self.connection.on_lost = None
        self.client_gone(AbortCause.CLIENT_DISCONNECT)

    def _open_body(self) -> Body:
        body = Body(gateway_settings().LIMITS.BODY_BYTES)
        names = (b"content-type", b"content-encoding", b"content-length")
        body.check_headers(*(header(self.scope, name) for name in names))
        return body
