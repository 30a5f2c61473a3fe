"""An upstream's chunks, or its whole answer → agent events. No I/O."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from gateway_project import ids
from gateway_project.agents.errors import UpstreamError
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from gateway_project.agents.halves import Halves
from gateway_project.agents.openai.errors import Redact, error_in, frame_error
from gateway_project.agents.openai.sse import SSEParser
from gateway_project.agents.openai.usual import UsualChunk

DONE = b"[DONE]"

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_BROKEN_OFF = frozenset({"abort", "error"})
"""Finish reasons with which vLLM and OpenRouter say that the answer is none."""
_LEAST_LOGPROB = -9999.0
"""What OpenAI and vLLM send for a probability of zero, whose logarithm JSON cannot hold."""
_MAX_COUNT = 2**31 - 1
_FEW = 8
"""Events of a read for which it does not pay to look for one that the others are like."""
_MOST_ALONE = 4
"""Events that are looked at one by one, at the beginning of a read, for one that the others are like."""


class _Choice:
    """What must be known of a choice to tell its calls apart, and that it is complete."""

    def __init__(self) -> None:
        self.finished = False
        self.calls = 0
        self.current: int | None = None
        self.ids: dict[int | None, str | None] = {}
        self.halves = Halves()

    def begins(self, index: int | None, call_id: str, name: str) -> bool:
        """Whether a piece begins a new call.

        Older Ollama gives every call the index 0, some give none, older vLLM a new id to every piece, and some
        repeat id and name in each: only a new id *with* a name begins a call under a known index.
        """
        if index is None:
            return not self.calls or bool(name and (not call_id or call_id != self.ids[self.current]))
        return index not in self.ids or bool(call_id and name and call_id != self.ids[index])


class AnswerReader:
    """The data of events, or one whole answer, in; agent events out.

    Args:
        choices: how many were asked for; any other index is the upstream's fault.
        logprobs: whether they were asked for.
        redact: takes secrets out of what the upstream says of an error.
    """

    def __init__(self, *, choices: int, logprobs: bool, redact: Redact) -> None:
        self.done = False
        """Whether ``[DONE]`` was read."""
        self._logprobs = logprobs
        self._redact = redact
        self._expected = choices
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._usual = UsualChunk()

    def chunk(self, data: bytes) -> list[AgentEvent]:
        """Read the data of one server-sent event.

        Raises:
            AgentError: for an error frame.
            UpstreamError: for what cannot be understood.
        """
        text = self._usual.text_of(data)
        if text is not None:
            return [TextDelta(text, self._usual.choice)]
        if self.done or data.strip() == DONE:
            self.done = True
            return []
        payload = _parse(data)
        events = self._object(payload, "delta")
        if len(events) == 1 and type(events[0]) is TextDelta and payload.get("usage") is None:
            self._usual.learn(data, events[0])
        return events

    def read_into(self, burst: list[AgentEvent], parser: SSEParser, read: bytes) -> None:
        """Add to `burst` what a read of the stream completes; an empty one is its end. Raises as `chunk` does."""
        if not read:
            for data in parser.close():
                burst += self.chunk(data)
            return
        for _ in range(_MOST_ALONE if read.count(b"\n\n") > _FEW else 0):
            if self._usual.is_known:
                break
            # One after the other, until one is known again.
            event, blank, read = read.partition(b"\n\n")
            for data in parser.feed(event + blank):
                burst += self.chunk(data)
            if not read:
                return
        kept = parser.take_back() if self._usual.is_known else None
        if kept is not None:
            texts, read = self._usual.texts_at_start(kept + read)
            choice = self._usual.choice
            burst += [TextDelta(text, choice) for text in texts]
            if not read:
                return
        for data in parser.feed(read):
            burst += self.chunk(data)

    def whole(self, body: bytes) -> list[AgentEvent]:
        """Read an answer that was not streamed. Raises as `chunk` and `end` do."""
        events = self._object(_parse(body), "message")
        self.done = True
        return events + self.end()

    def end(self) -> list[AgentEvent]:
        """The upstream's answer is over: finish what it left open, if it said that it is done.

        Raises:
            UpstreamError: when it was cut off.
        """
        still_open = [index for index, choice in self._choices.items() if not choice.finished]
        if not self._choices or (still_open and not self.done):
            raise cut_off()
        if len(self._choices) < self._expected:
            raise UpstreamError("The upstream gave fewer choices than were asked for.")
        return [event for index in still_open for event in self._finish(index, self._choices[index], "stop")]

    def _object(self, payload: Mapping[str, Any], key: str) -> list[AgentEvent]:
        error = error_in(payload)
        if error is not None:
            raise frame_error(error, self._redact)
        events: list[AgentEvent] = []
        for choice in _objects(payload.get("choices")):
            events += self._choice(choice, key)
        counts = payload.get("usage")
        usage = _usage(counts) if counts else None
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(usage)
        return events

    def _choice(self, wire: Mapping[str, Any], key: str) -> list[AgentEvent]:
        index = 0 if wire.get("index") is None else _count(wire["index"])
        if index is None or index >= self._expected:
            raise UpstreamError("The upstream gave a choice that was not asked for.")
        choice = self._choices.setdefault(index, _Choice())
        if choice.finished:
            return []
        delta, logprobs = wire.get(key), wire.get("logprobs")
        events: list[AgentEvent] = []
        if isinstance(delta, dict) and (delta or logprobs):
            events = self._delta(delta, logprobs, index, choice)
        reason = wire.get("finish_reason")
        if isinstance(reason, str) and reason:
            events += self._finish(index, choice, reason)
        return events

    def _delta(self, delta: Mapping[str, Any], logprobs: Any, index: int, choice: _Choice) -> list[AgentEvent]:
        events: list[AgentEvent] = []
        join = choice.halves.join
        reasoning = join("reasoning", _string(delta.get("reasoning_content") or delta.get("reasoning")))
        if reasoning:
            events.append(ReasoningDelta(reasoning, choice=index))
        calls = _objects(delta.get("tool_calls"))
        text = join("content", _string(delta.get("content")))
        refusal = join("refusal", _string(delta.get("refusal")))
        if choice.halves:
            self._usual.forget()  # What comes next is not read as usual.
        # Where a chunk holds reasoning or calls only, its log probabilities are theirs, and clients get none for them.
        of_text = self._tokens(logprobs, "content") if text or not (reasoning or calls) else None
        if text or of_text:
            events.append(TextDelta(text, index, of_text))
        of_refusal = self._tokens(logprobs, "refusal")
        if refusal or of_refusal:
            events.append(RefusalDelta(refusal, index, of_refusal))
        for call in calls:
            piece = _call(call, index, choice)
            if piece is not None:
                events.append(piece)
        return events

    def _tokens(self, logprobs: Any, key: str) -> tuple[TokenLogprob, ...] | None:
        if not self._logprobs or not isinstance(logprobs, dict) or not isinstance(logprobs.get(key), list):
            return None
        return tuple(_token(token) for token in _objects(logprobs[key]))

    def _finish(self, index: int, choice: _Choice, reason: str) -> list[AgentEvent]:
        if reason in _BROKEN_OFF:
            raise UpstreamError("The upstream broke the answer off.", code="upstream_cut_off")
        choice.finished = True
        self._usual.forget()
        mapped = _REASONS.get(reason, "stop")
        # A call that was forced ends with "stop" at some upstreams; clients look for the other word.
        finish = Finish("tool_calls" if mapped == "stop" and choice.calls else mapped, index)
        rest = choice.halves.rest("content")
        return [TextDelta(rest, index), finish] if rest else [finish]


def cut_off() -> UpstreamError:
    """The upstream's answer ended before its end."""
    return UpstreamError("The upstream's answer was cut off.", code="upstream_cut_off")


def _call(wire: Mapping[str, Any], index: int, choice: _Choice) -> ToolCallDelta | None:
    """One piece of a call, under a number of our own; None for one that says nothing new."""
    function = wire.get("function")
    function = function if isinstance(function, dict) else {}
    number, call_id, name = _count(wire.get("index")), _text(wire.get("id")), _text(function.get("name"))
    arguments = function.get("arguments")
    arguments = json.dumps(arguments) if isinstance(arguments, dict) else _string(arguments)
    if choice.begins(number, call_id, name):
        if not name:
            raise UpstreamError("The upstream sent a tool call without a name.")
        choice.calls += 1
        choice.current = number
        choice.ids[number] = call_id or None
        arguments = choice.halves.join(choice.calls, arguments)
        return ToolCallDelta(choice.calls - 1, arguments, call_id or ids.new_call_id(), name, index)
    if not arguments:
        return None
    if number is not None and number != choice.current:
        raise UpstreamError("The upstream mixed the pieces of several tool calls.")
    return ToolCallDelta(choice.calls - 1, choice.halves.join(choice.calls, arguments), choice=index)


def _parse(data: bytes) -> Mapping[str, Any]:
    try:
        payload = from_json(data, allow_inf_nan=False)
    except ValueError:
        payload = _parse_leniently(data)
    if not isinstance(payload, dict):
        raise UpstreamError("The upstream's answer is not understood.", code="upstream_protocol_error")
    return payload


def _parse_leniently(data: bytes) -> Any:
    """What only Python's own reader takes: lone surrogates, and NaN, which becomes null."""
    try:
        return json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()


def _string(value: Any) -> str:
    """A string, a piece of which a character may be cut through; empty for null and what is missing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UpstreamError("The upstream's answer is not understood.", code="upstream_protocol_error")
    return value


def _text(value: Any) -> str:
    """A whole string that UTF-8 can hold; empty for null and what is missing."""
    text = _string(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return value if good else None


def _usage(wire: Any) -> Usage | None:
    if not isinstance(wire, dict):
        return None
    spent, made = _count(wire.get("prompt_tokens")), _count(wire.get("completion_tokens"))
    if spent is None or made is None:
        return None
    cached = _detail(wire, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(wire, "completion_tokens_details", "reasoning_tokens")
    return Usage(spent, made, cached, reasoning)


def _detail(wire: Mapping[str, Any], group: str, name: str) -> int:
    details = wire.get(group)
    count = _count(details.get(name)) if isinstance(details, dict) else None
    return 0 if count is None else count


def _token(wire: Mapping[str, Any]) -> TokenLogprob:
    return _bare_token(wire, tuple(_bare_token(other) for other in _objects(wire.get("top_logprobs"))))


def _bare_token(wire: Mapping[str, Any], top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    return TokenLogprob(_text(wire.get("token")), _logprob(wire.get("logprob")), _bytes(wire.get("bytes")), top)


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < _LEAST_LOGPROB:
        return _LEAST_LOGPROB
    return float(min(value, 0.0))


def _bytes(value: Any) -> tuple[int, ...] | None:
    good = isinstance(value, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value)
    return tuple(value) if good else None
