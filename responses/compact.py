"""``POST /v1/responses/compact``: a conversation goes in, what is needed to continue it comes out.

The agent summarises it. What the users said is handed back word for word, before the summary.
Source: Open Responses, OpenAPI file, ``CompactResponseMethodPublicBody``, ``CompactResource``.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway_project import ids
from gateway_project.agents.errors import AgentMisbehaved
from gateway_project.agents.events import AgentEvent, TextDelta
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.execution.outlet import Completed
from gateway_project.runs.vocabulary import Endpoint
from gateway_project.transport import sse
from gateway_project.transport.encoder import BodyEncoder, Encoder
from gateway_project.transport.run_consumer import RunConsumer
from gateway_project.transport.schema import HONOURED, RECORDED, Field, Label, RunContext, RunRequest, refused_unless

from .compaction import sealed
from .conversation import ConversationRequest
from .intake import ContinuingIntake
from .resource import usage_object

_INSTRUCTION = (
    "Summarise the conversation above for yourself, so that it can be continued from your summary alone: what was "
    "asked, what was found and decided, what is still to be done, and every name, number and text that "
    "will be needed again."
)


class CompactRequest(ConversationRequest):
    """The body."""

    fields_table: ClassVar[Mapping[str, Field]] = {
        "model": HONOURED,
        "input": HONOURED,
        "instructions": HONOURED,
        "previous_response_id": HONOURED,
        "prompt_cache_key": RECORDED,
        "stream": refused_unless(False),
    }

    prompt_cache_key: Label | None = None

    def agent_request(self, context: RunContext) -> AgentRequest:
        """The conversation, and the wish to have it summarised."""
        return AgentRequest(
            run_id=context.run_id,
            model=context.model,
            messages=(*self.messages(context), Message("user", (TextPart(_INSTRUCTION),))),
            principal_id=context.principal.id,
            principal_label=context.principal.label,
        )


class CompactEncoder(BodyEncoder):
    """Makes the one object of what the agent says.

    Args:
        messages: the conversation.
    """

    def __init__(self, run_id: uuid.UUID, created_at: int, messages: Sequence[Message]) -> None:
        self._run_id = run_id
        self._created_at = created_at
        self._users = [message.text for message in messages if message.role == "user" and message.text]
        self._summary: list[str] = []

    def event(self, event: AgentEvent) -> None:
        """Of all that an agent says, its text is the summary."""
        if isinstance(event, TextDelta) and event.choice == 0:
            self._summary.append(event.text)

    def body(self, result: Completed) -> bytes:
        """A ``response.compaction``.

        Raises:
            AgentMisbehaved: when the agent said nothing.
        """
        summary = "".join(self._summary).strip()
        if not summary:
            raise AgentMisbehaved("The agent made no summary.")
        output: list[dict[str, Any]] = [self._message(number, text) for number, text in enumerate(self._users)]
        id_ = ids.item_id("cmp", self._run_id, len(output))
        output.append({"type": "compaction", "id": id_, "encrypted_content": sealed(summary)})
        return sse.dumps(
            {
                "id": ids.response_id(self._run_id),
                "object": "response.compaction",
                "created_at": self._created_at,
                "output": output,
                "usage": usage_object(result.usage),
            }
        )

    def _message(self, number: int, text: str) -> dict[str, Any]:
        return {
            "type": "message",
            "id": ids.item_id("msg", self._run_id, number),
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }


class CompactConsumer(ContinuingIntake, RunConsumer):
    """The endpoint. Its answers are not stored: the client carries them."""

    endpoint = Endpoint.COMPACT
    request_model = CompactRequest

    def encoder(self, request: RunRequest, context: RunContext) -> Encoder:
        """One object."""
        assert isinstance(request, CompactRequest)
        return CompactEncoder(self.run_id, int(self.received_at.timestamp()), request.messages(context))
