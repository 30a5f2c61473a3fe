"""The endpoint: joins schema and encoder, and what is kept of an answer."""

from gateway_project.conf import gateway_settings
from gateway_project.execution.supervisor import current_supervisor
from gateway_project.runs.vocabulary import AbortCause
from gateway_project.transport.encoder import Encoder
from gateway_project.transport.intake import Work
from gateway_project.transport.keeper import Keeper
from gateway_project.transport.run_consumer import RunConsumer
from gateway_project.transport.schema import RunContext, RunRequest

from .background import hand_over
from .dialect import dialect_of
from .encoder import ResponseBodyEncoder, ResponseStreamEncoder
from .following import StreamFollower
from .intake import ResponseIntake, stores
from .keeper import AnswerKeeper, StreamKeeper
from .linger import Linger
from .models import StoredStatus
from .schema import ResponseRequest
from .store import StoreResponse


class ResponsesConsumer(ResponseIntake, RunConsumer):
    """``POST /v1/responses``."""

    follower: StreamFollower | None = None
    """Sends the stream of a response in the background."""
    linger: Linger | None = None
    """Waits for the client to come back, where the agent's settings say so."""

    def encoder(self, request: RunRequest, context: RunContext) -> Encoder:
        """Named events for a stream, else one ``response`` object."""
        assert isinstance(request, ResponseRequest)
        resource = self._resource(request)
        if request.stream:
            return ResponseStreamEncoder(resource, dialect_of(self.scope))
        return ResponseBodyEncoder(resource)

    def keeper(self, work: Work, encoder: Encoder) -> Keeper | None:
        """Keeps a stored response, and its stream where the client may resume it."""
        assert isinstance(work.request, ResponseRequest)
        assert isinstance(encoder, ResponseStreamEncoder | ResponseBodyEncoder)
        if not stores(work.request):
            return None
        if self._linger_seconds(work) is not None:
            return StreamKeeper(current_supervisor(), encoder.builder, self.run_id)
        return AnswerKeeper(current_supervisor(), encoder.builder, self._stored(work, StoredStatus.COMPLETED))

    async def launch(self, work: Work) -> None:
        """Start the run; in the background, or with its stream kept, if so asked or configured."""
        assert isinstance(work.request, ResponseRequest)
        if work.request.background:
            await self._launch_in_background(work)
            return
        seconds = self._linger_seconds(work)
        response = None if seconds is None else self._stored(work, StoredStatus.IN_PROGRESS)
        await super().launch(work)
        if seconds is not None and response is not None and self.run is not None:
            # In the turn in which the run got its place: before all of its stream, and never for one that is refused.
            current_supervisor().submit(StoreResponse(response))
            self.linger = Linger(self.run, seconds)

    def client_gone(self, cause: AbortCause) -> None:
        """Stop the run, unless it was told to wait for its client to come back."""
        if self.follower is not None:
            self.follower.stop()
        elif self.linger is not None and cause is AbortCause.CLIENT_DISCONNECT:
            self.linger.begin()
        else:
            super().client_gone(cause)

    async def _launch_in_background(self, work: Work) -> None:
        response = self._stored(work, StoredStatus.QUEUED)
        await hand_over(work.record, response)
        if work.request.stream:
            self.follower = StreamFollower(self.connection, dialect_of(self.scope))
            self.follower.start(self.run_id)
        else:
            await self.connection.reply(200, response.body.encode())

    def _linger_seconds(self, work: Work) -> float | None:
        assert isinstance(work.request, ResponseRequest)
        if not work.request.stream or not stores(work.request):
            return None
        return gateway_settings().AGENTS[work.agent.name].linger_seconds
