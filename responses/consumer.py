"""The endpoint: joins schema and encoder, nothing else."""

from typing import ClassVar

from gateway_project.runs.vocabulary import Endpoint
from gateway_project.transport.encoder import Encoder
from gateway_project.transport.run_consumer import RunConsumer
from gateway_project.transport.schema import RunContext, RunRequest

from .encoder import ResponseBodyEncoder, ResponseStreamEncoder
from .resource import ResponseResource
from .schema import ResponseRequest


class ResponsesConsumer(RunConsumer):
    """``POST /v1/responses``."""

    endpoint = Endpoint.RESPONSES
    request_model = ResponseRequest
    parameter_names: ClassVar = {"response_format": "text.format", "logprobs": "include"}

    def encoder(self, request: RunRequest, context: RunContext) -> Encoder:
        """Named events for a stream, else one ``response`` object."""
        assert isinstance(request, ResponseRequest)
        resource = ResponseResource(request, context.run_id, int(self.received_at.timestamp()))
        return ResponseStreamEncoder(resource) if request.stream else ResponseBodyEncoder(resource)
