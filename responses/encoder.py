"""Agent events → the events of a Responses stream, or one ``response`` object. No I/O."""

from collections.abc import Sequence
from typing import Literal, assert_never

from gateway_project.agents.errors import AgentError, AgentMisbehaved
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    MessagePhase,
    Phase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.runs.vocabulary import CLIENT_IS_GONE, AbortCause
from gateway_project.transport import sse
from gateway_project.transport.encoder import BodyEncoder, StreamEncoder
from gateway_project.transport.errors import envelope, error_of

from .dialect import Dialect
from .output import (
    OUTPUT_TEXT,
    RAW_REASONING,
    REASONING_SUMMARY,
    REFUSAL,
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    OutputItem,
    Part,
    ReasoningItem,
    WireEvent,
)
from .resource import Resource, ResponseResource

INCOMPLETE_REASONS: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""The finish reasons that leave a response incomplete, and what it calls them."""


class ResponseBuilder:
    """One answer while it grows. Both encoders use it, so that they cannot disagree.

    At most one item is open: whatever belongs elsewhere closes it and opens the next.
    """

    def __init__(self, resource: ResponseResource, dialect: Dialect = Dialect.OPEN_RESPONSES) -> None:
        self._resource = resource
        self._raw_reasoning = RAW_REASONING[dialect]
        self._items: list[OutputItem] = []
        self._open: OutputItem | None = None
        self._phase: Phase | None = None
        self._calls: set[int] = set()
        self._finished = False
        # The first are the opening's, which is asked for when the first event is there.
        self.next_number = 3 if resource.background else 2
        """The ``sequence_number`` of the next event."""
        self.final: Resource | None = None
        """The response object as it was at the end."""

    def waiting(self) -> list[WireEvent]:
        """The response exists, and waits. Of responses in the background only."""
        response = self._resource.snapshot("queued")
        return [
            {"type": "response.created", "sequence_number": 0, "response": response},
            {"type": "response.queued", "sequence_number": 1, "response": response},
        ]

    def opening(self) -> list[WireEvent]:
        """The response exists, and is worked on."""
        response = self._resource.snapshot("in_progress")
        if self._resource.background:
            return [{"type": "response.in_progress", "sequence_number": 2, "response": response}]
        return [
            {"type": "response.created", "sequence_number": 0, "response": response},
            {"type": "response.in_progress", "sequence_number": 1, "response": response},
        ]

    def add(self, event: AgentEvent) -> list[WireEvent]:
        """What `event` changes. Other choices than the first do not exist here.

        Raises:
            AgentMisbehaved: for a piece of a tool call that cannot be placed.
        """
        if self._finished or getattr(event, "choice", 0) != 0:
            return []
        return self._numbered(self._changes(event))

    def end(self, result: Completed | Failed | Aborted) -> list[WireEvent]:
        """The last events; the very last carries the whole response.

        On a failure ``response.failed`` goes alone: the official Python client stops at an ``error`` event and
        would never see it. The open item stays ``in_progress`` in it, since ``incomplete`` is only for an item
        that ran out of tokens (Open Responses, "Items are state machines").
        """
        if not isinstance(result, Completed):
            self.final = self._unfinished(result)
            return self._numbered([{"type": "response.failed", "response": self.final}])
        reason = INCOMPLETE_REASONS.get(result.reasons.get(0, "stop"))
        status: Literal["completed", "incomplete"] = "incomplete" if reason else "completed"
        events = self._close(status)
        usage = result.usage
        self.final = self._resource.snapshot(status, self._output(), usage=usage, incomplete_reason=reason)
        return self._numbered([*events, {"type": f"response.{status}", "response": self.final}])

    def _unfinished(self, result: Failed | Aborted) -> Resource:
        """A response of the background that its client cancels, or that nobody came back for, is no failure."""
        if isinstance(result, Aborted):
            cancelled = self._resource.background and result.cause is AbortCause.CLIENT_CANCELLED
            if cancelled or result.cause in CLIENT_IS_GONE:
                return self._resource.snapshot("cancelled", self._output(), usage=result.usage)
        return self._resource.snapshot("failed", self._output(), usage=result.usage, error=error_of(result))

    def _changes(self, event: AgentEvent) -> list[WireEvent]:
        match event:
            case TextDelta() | RefusalDelta():
                return self._message(event)
            case ReasoningDelta():
                return self._reasoning(event)
            case ToolCallDelta():
                return self._call_piece(event)
            case ToolCall():
                call = FunctionCallItem(self._resource.run_id, len(self._items), event.call_id, event.name)
                return [*self._begin(call), *call.delta(event.arguments), *self._close("completed")]
            case MessagePhase():
                self._phase = event.phase
                return self._close("completed") if isinstance(self._open, MessageItem) else []
            case Finish():
                self._finished = True
                # An item may only be incomplete if the response is: that is sure at the end, not yet.
                return [] if event.reason in INCOMPLETE_REASONS else self._close("completed")
            case Usage() | ToolActivity():
                return []
            case _:
                assert_never(event)

    def _message(self, event: TextDelta | RefusalDelta) -> list[WireEvent]:
        if not event.text and not event.logprobs:
            return []
        events: list[WireEvent] = []
        item = self._open
        if not isinstance(item, MessageItem):
            item = MessageItem(self._resource.run_id, len(self._items), self._phase)
            events = self._begin(item)
        if isinstance(event, RefusalDelta):
            return [*events, *item.delta(REFUSAL, event.text)]
        return [*events, *item.delta(OUTPUT_TEXT, event.text, event.logprobs or ())]

    def _reasoning(self, event: ReasoningDelta) -> list[WireEvent]:
        if not event.text:
            return []
        events: list[WireEvent] = []
        item = self._open
        if not isinstance(item, ReasoningItem):
            item = ReasoningItem(self._resource.run_id, len(self._items))
            events = self._begin(item)
        return [*events, *item.delta(REASONING_SUMMARY if event.summary else self._raw_reasoning, event.text)]

    def _call_piece(self, event: ToolCallDelta) -> list[WireEvent]:
        item = self._open
        if isinstance(item, FunctionCallItem) and item.index == event.index:
            return item.delta(event.arguments)
        if event.index in self._calls:
            raise AgentMisbehaved("The agent went back to a tool call that it had left.")
        if event.call_id is None or event.name is None:
            raise AgentMisbehaved("The agent began a tool call without its id and name.")
        self._calls.add(event.index)
        call = FunctionCallItem(self._resource.run_id, len(self._items), event.call_id, event.name, index=event.index)
        return [*self._begin(call), *call.delta(event.arguments)]

    def _begin(self, item: OutputItem) -> list[WireEvent]:
        events = self._close("completed")
        self._open = item
        self._items.append(item)
        return [*events, *item.open()]

    def _close(self, status: ItemStatus) -> list[WireEvent]:
        item, self._open = self._open, None
        return item.close(status) if item is not None else []

    def _output(self) -> list[WireEvent]:
        return [item.as_object() for item in self._items]

    def add_texts(self, texts: Sequence[str]) -> tuple[Part, WireEvent] | None:
        """More text, as `add` adds it; None, and nothing is done, where the text before it is not open.

        Returns the part that it belongs to, and the event of the first one, without its number. The others differ in
        number and text only.
        """
        item = self._open
        part = item.open_text if isinstance(item, MessageItem) and not self._finished else None
        if part is None or not isinstance(item, MessageItem):
            return None
        (event,) = item.delta(OUTPUT_TEXT, texts[0])
        part.text.add("".join(texts[1:]))
        self.next_number += len(texts)
        return part, event

    def _numbered(self, events: list[WireEvent]) -> list[WireEvent]:
        first, self.next_number = self.next_number, self.next_number + len(events)
        return [
            {"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events, first)
        ]


class ResponseStreamEncoder(StreamEncoder):
    """Named events, ``sequence_number`` from 0 without a gap, then ``[DONE]``."""

    def __init__(self, resource: ResponseResource, dialect: Dialect = Dialect.OPEN_RESPONSES) -> None:
        self.builder = ResponseBuilder(resource, dialect)
        self._part: Part | None = None
        self._frame = (b"", b"", b"")

    def waiting(self) -> bytes:
        """What comes while a response in the background waits for its place."""
        return _frames(self.builder.waiting())

    def open(self) -> bytes:
        """``response.created``, if `waiting` has not said it, and ``response.in_progress``."""
        return _frames(self.builder.opening())

    def event(self, event: AgentEvent) -> bytes:
        """What the event changes, from nothing to a handful of frames."""
        return _frames(self.builder.add(event))

    def burst(self, events: Sequence[AgentEvent]) -> bytes | None:
        """More of the text that is open, which nearly everything is."""
        texts = [
            event.text
            for event in events
            if type(event) is TextDelta and event.text and event.choice == 0 and event.logprobs is None
        ]
        number = self.builder.next_number
        added = self.builder.add_texts(texts) if len(texts) == len(events) else None
        if added is None:
            return None
        part, event = added
        if part is not self._part:
            self._part, self._frame = part, _around(event)
        before, between, after = self._frame
        return b"".join(
            b"%b%d%b%b%b" % (before, place, between, sse.text(text), after) for place, text in enumerate(texts, number)
        )

    def close(self, result: Completed | Failed | Aborted) -> bytes:
        """The one terminal event, then ``[DONE]``."""
        return _frames(self.builder.end(result)) + sse.DONE

    def broken_off(self, error: AgentError) -> bytes:
        """An ``error`` event, then ``[DONE]``."""
        return error_event(error, self.builder.next_number) + sse.DONE


class ResponseBodyEncoder(BodyEncoder):
    """The object that a stream would have ended with."""

    def __init__(self, resource: ResponseResource) -> None:
        self.builder = ResponseBuilder(resource)

    def event(self, event: AgentEvent) -> None:
        """Add one event."""
        self.builder.add(event)

    def body(self, result: Completed) -> bytes:
        """The whole answer."""
        return sse.dumps(self.builder.end(result)[-1]["response"])


def error_event(error: AgentError, number: int) -> bytes:
    """The end of a stream that cannot come to its terminal event (Open Responses, ``ErrorStreamingEvent``)."""
    return _frames([{"type": "error", "sequence_number": number, **envelope(error)}])


def _around(event: WireEvent) -> tuple[bytes, bytes, bytes]:
    """What stands before the number, between number and text, and after the text of a text's frame."""
    frame = _frames([{"type": event["type"], "sequence_number": 0, **event, "delta": "text"}])
    before, mark, rest = frame.partition(b'"sequence_number":')
    between, _, after = rest.removeprefix(b"0").rpartition(b'"text"')
    return before + mark, between, after


def _frames(events: list[WireEvent]) -> bytes:
    return b"".join(sse.named_event(event["type"], event) for event in events)
