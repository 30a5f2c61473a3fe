"""A request for a response on its way in, over HTTP or a WebSocket: what it refers to, and what is kept of it."""

import json
from typing import ClassVar

from gateway_project.conf import gateway_settings
from gateway_project.runs.vocabulary import Endpoint
from gateway_project.transport.errors import UnsupportedParameter
from gateway_project.transport.intake import Intake, Work
from gateway_project.transport.schema import RunContext, RunRequest

from .context import parse_response_id, recall
from .conversation import ConversationRequest, ResponseContext
from .memory import Remembered
from .models import StoredStatus
from .resource import ResponseResource
from .schema import ResponseRequest
from .store import ResponseRecord


class ContinuingIntake(Intake):
    """A request that may continue an earlier response."""

    parameter_names: ClassVar = {
        "response_format": "text.format",
        "logprobs": "include",
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
        "verbosity": "text.verbosity",
        "messages": "input",
    }
    """For those of Chat Completions, in which agents and their upstreams think."""

    remembered: Remembered | None = None
    """A response that the connection has in mind, stored or not."""

    async def context(self, request: RunRequest, model: str) -> RunContext:
        """Load what the request refers to."""
        assert isinstance(request, ConversationRequest)
        assert self.principal is not None
        assert self.record is not None
        if request.previous_response_id is not None:
            self.record.parent_run = parse_response_id(request.previous_response_id)
        return await recall(
            request,
            self.payload,
            run_id=self.run_id,
            model=model,
            principal=self.principal,
            remembered=self.remembered,
        )


class ResponseIntake(ContinuingIntake):
    """One request for a response."""

    endpoint = Endpoint.RESPONSES
    request_model = ResponseRequest

    async def context(self, request: RunRequest, model: str) -> RunContext:
        """Also refuse what cannot be stored and must be."""
        assert isinstance(request, ResponseRequest)
        if request.background and not gateway_settings().RESPONSES.STORE:
            raise UnsupportedParameter("Responses are not stored here.", param="background")
        return await super().context(request, model)

    def _stored(self, work: Work, status: StoredStatus) -> ResponseRecord:
        assert isinstance(work.request, ResponseRequest)
        assert isinstance(work.context, ResponseContext)
        record = work.record
        is_open = status is not StoredStatus.COMPLETED
        body = self._resource(work.request).snapshot("queued" if work.request.background else "in_progress")
        return ResponseRecord(
            id=self.run_id,
            principal_kind=record.principal_kind,
            principal_id=record.principal_id,
            previous=record.parent_run if work.context.earlier_is_stored else None,
            status=status.value,
            background=bool(work.request.background),
            created_at=record.received_at,
            request=json.dumps(work.payload) if work.request.background else "",
            input=json.dumps(work.context.unstored),
            body=json.dumps(body) if is_open else "",
        )

    def _resource(self, request: ResponseRequest) -> ResponseResource:
        return ResponseResource(request, self.run_id, int(self.received_at.timestamp()), stored=stores(request))


def stores(request: ResponseRequest) -> bool:
    """Whether the response can be asked for again."""
    return gateway_settings().RESPONSES.STORE and request.store is not False
