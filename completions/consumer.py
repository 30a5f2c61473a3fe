"""The endpoint: joins schema and encoder, nothing else."""

from typing import ClassVar

from gateway_project.runs.vocabulary import Endpoint
from gateway_project.transport.encoder import Encoder
from gateway_project.transport.run_consumer import RunConsumer
from gateway_project.transport.schema import RunContext, RunRequest

from .encoder import ChatBodyEncoder, ChatStreamEncoder
from .schema import ChatCompletionRequest


class ChatCompletionsConsumer(RunConsumer):
    """``POST /v1/chat/completions``."""

    endpoint = Endpoint.CHAT_COMPLETIONS
    request_model = ChatCompletionRequest
    parameter_names: ClassVar = {"choices": "n"}

    def encoder(self, request: RunRequest, context: RunContext) -> Encoder:
        """Chunks for a stream, else one ``chat.completion`` object."""
        assert isinstance(request, ChatCompletionRequest)
        created = int(self.received_at.timestamp())
        old_calls = request.uses_functions
        if not request.stream:
            return ChatBodyEncoder(context.run_id, request.model, created, old_calls=old_calls)
        usage = request.include_usage
        return ChatStreamEncoder(context.run_id, request.model, created, include_usage=usage, old_calls=old_calls)
