"""What the requests of this endpoint have in common: a conversation, sent whole or continued."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway_project.agents.request import Message, TextPart
from gateway_project.transport.errors import InvalidValue, MissingParameter
from gateway_project.transport.schema import Few, RunContext, RunRequest

from .items import InputItem, conversation

Item = dict[str, Any]
"""An item as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseContext(RunContext):
    """A request's context with all that it refers to, loaded.

    Attributes:
        earlier: the items of the responses before, first come first.
        input: the request's own items, each with an id, references replaced by what they name.
        items: both, parsed, where the request refers to any.
        earlier_is_stored: whether `earlier` can be loaded again, by the id of the response before.
    """

    earlier: Sequence[Item] = ()
    input: Sequence[Item] = ()
    items: Sequence[InputItem] = ()
    earlier_is_stored: bool = True

    @property
    def unstored(self) -> Sequence[Item]:
        """What must be stored with the response, so that it can be continued from the database alone."""
        return self.input if self.earlier_is_stored else [*self.earlier, *self.input]


class ConversationRequest(RunRequest):
    """A request with an input that may continue an earlier response."""

    input: str | Few[InputItem] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None

    @property
    def input_items(self) -> Sequence[InputItem]:
        """The items of the input, where it is a list."""
        return () if self.input is None or isinstance(self.input, str) else self.input

    def messages(self, context: RunContext) -> tuple[Message, ...]:
        """The whole conversation. Instructions lead as a ``system`` message, the role that every chat template knows.

        Raises:
            APIError: for an input that is missing, empty or wrong.
        """
        assert isinstance(context, ResponseContext)
        if self.input is None and self.previous_response_id is None:
            raise MissingParameter("input")
        given = context.items or (() if self.input is None else self.input)
        earlier = len(context.items) - len(self.input_items) if context.items else 0
        messages = conversation(given, skipped=earlier)
        if not messages:
            raise InvalidValue("The input holds nothing to answer.", param="input")
        if not self.instructions:
            return messages
        return (Message("system", (TextPart(self.instructions),)), *messages)
