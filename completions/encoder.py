"""Agent events → chunks of a stream, or one ``chat.completion`` object. No I/O."""

import uuid
from collections.abc import Sequence
from typing import Any, assert_never

from gateway_project import ids
from gateway_project.agents.events import (
    AgentEvent,
    Finish,
    FinishReason,
    MessagePhase,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolActivity,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from gateway_project.execution.outlet import Aborted, Completed, Failed
from gateway_project.growing_text import GrowingText
from gateway_project.transport import sse
from gateway_project.transport.encoder import BodyEncoder, StreamEncoder
from gateway_project.transport.errors import envelope, error_of


def usage_object(usage: Usage) -> dict[str, Any]:
    """``CompletionUsage``."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def logprobs_object(tokens: tuple[TokenLogprob, ...]) -> list[dict[str, Any]]:
    """``choices[].logprobs.content``: a list of tokens with their alternatives."""
    return [{**_token(token), "top_logprobs": [_token(alternative) for alternative in token.top]} for token in tokens]


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token,
        "logprob": token.sayable_logprob,
        "bytes": None if token.bytes is None else list(token.bytes),
    }


def finish_reason(reason: FinishReason, *, old_calls: bool) -> str:
    """The reason as the client knows it."""
    return "function_call" if old_calls and reason == "tool_calls" else reason


class ToolCallIndexes:
    """Numbers the calls of a choice as they begin, those that are streamed and those that come whole."""

    def __init__(self) -> None:
        self._given: dict[tuple[int, int], int] = {}
        self._next: dict[int, int] = {}

    def of(self, event: ToolCallDelta | ToolCall) -> int:
        """The index under which this call goes out."""
        free = self._next.get(event.choice, 0)
        index = free
        if isinstance(event, ToolCallDelta):
            index = self._given.setdefault((event.choice, event.index), free)
        if index == free:
            self._next[event.choice] = free + 1
        return index


class ChatStreamEncoder(StreamEncoder):
    """``chat.completion.chunk`` objects, then ``[DONE]``.

    One id, created and model in all chunks; a choice's first delta has the role, its last the finish reason.

    Args:
        old_calls: the client sent ``functions`` and knows no tool calls.
    """

    def __init__(
        self, run_id: uuid.UUID, model: str, created: int, *, include_usage: bool, old_calls: bool = False
    ) -> None:
        self._head = {
            "id": ids.chat_completion_id(run_id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._include_usage = include_usage
        self._old_calls = old_calls
        self._opened = 0  # choices, in order
        self._indexes = ToolCallIndexes()
        self._frames: dict[int, tuple[bytes, bytes]] = {}

    def open(self) -> bytes:
        """Nothing: each choice opens itself with its role."""
        return b""

    def event(self, event: AgentEvent) -> bytes:
        """One chunk, or two where a choice begins."""
        match event:
            case TextDelta(logprobs=None):
                before, after = self._frames.get(event.choice) or self._frame(event.choice)
                return before + sse.text(event.text) + after
            case TextDelta():
                delta: dict[str, Any] = {"content": event.text}
                return self._delta(event.choice, delta, logprobs=self._logprobs("content", event.logprobs))
            case RefusalDelta():
                delta = {"refusal": event.text}
                return self._delta(event.choice, delta, logprobs=self._logprobs("refusal", event.logprobs))
            case ReasoningDelta():
                # Not in OpenAI's schema; the name that vLLM, DeepSeek and OpenRouter stream reasoning under.
                return self._delta(event.choice, {"reasoning_content": event.text})
            case ToolCallDelta() | ToolCall():
                return self._delta(event.choice, self._call(event))
            case Finish():
                reason = finish_reason(event.reason, old_calls=self._old_calls)
                return self._role(event.choice) + self._chunk(event.choice, {}, finish_reason=reason)
            case Usage() | ToolActivity() | MessagePhase():
                return b""
            case _:
                assert_never(event)

    def burst(self, events: Sequence[AgentEvent]) -> bytes | None:
        """Text of one choice, which nearly everything is."""
        first = events[0]
        if len(events) == 1 or type(first) is not TextDelta or first.choice not in self._frames:
            return None
        texts = [
            event.text
            for event in events
            if type(event) is TextDelta and event.choice == first.choice and event.logprobs is None
        ]
        if len(texts) != len(events):
            return None
        before, after = self._frames[first.choice]
        return before + sse.texts(texts, between=after + before) + after

    def close(self, result: Completed | Failed | Aborted) -> bytes:
        """Usage if it was asked for, or an error frame; then ``[DONE]``."""
        if not isinstance(result, Completed):
            return sse.data_event(envelope(error_of(result))) + sse.DONE
        if not self._include_usage:
            return sse.DONE
        return sse.data_event({**self._head, "choices": [], "usage": usage_object(result.usage)}) + sse.DONE

    def _frame(self, choice: int) -> tuple[bytes, bytes]:
        """What stands around the text in a chunk of this choice, made once; before the first text, with its role."""
        mark = "text"
        before, _, after = self._chunk(choice, {"content": mark}).rpartition(sse.dumps(mark))
        self._frames[choice] = before, after
        return self._role(choice) + before, after

    def _delta(self, choice: int, delta: dict[str, Any], *, logprobs: Any = None) -> bytes:
        has_content = delta.keys() <= {"content", "reasoning_content"}
        return self._role(choice, "" if has_content else None) + self._chunk(choice, delta, logprobs=logprobs)

    def _role(self, choice: int, content: str | None = "") -> bytes:
        """The first delta of a choice, behind those of the choices before it, by whose order the official Python
        client finds them; nothing afterwards.

        Args:
            content: of this choice's; null before a call or a refusal, as in the body of an answer of these alone.
        """
        first, self._opened = self._opened, max(self._opened, choice + 1)
        delta = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(
            self._chunk(index, {**delta, "content": content} if index == choice else delta)
            for index in range(first, self._opened)
        )

    def _chunk(
        self, choice: int, delta: dict[str, Any], *, finish_reason: str | None = None, logprobs: Any = None
    ) -> bytes:
        item = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk: dict[str, Any] = {**self._head, "choices": [item]}
        if self._include_usage:
            chunk["usage"] = None
        return sse.data_event(chunk)

    def _call(self, event: ToolCallDelta | ToolCall) -> dict[str, Any]:
        if not self._old_calls:
            return {"tool_calls": [self._tool_call(event)]}
        named = {} if event.name is None else {"name": event.name}
        return {"function_call": {**named, "arguments": event.arguments}}

    def _tool_call(self, event: ToolCallDelta | ToolCall) -> dict[str, Any]:
        call: dict[str, Any] = {"index": self._indexes.of(event), "function": {"arguments": event.arguments}}
        if event.name is not None:
            call |= {"id": event.call_id, "type": "function"}
            call["function"] = {"name": event.name, "arguments": event.arguments}
        return call

    def _logprobs(self, key: str, tokens: tuple[TokenLogprob, ...] | None) -> dict[str, Any] | None:
        if tokens is None:
            return None
        return {"content": None, "refusal": None, key: logprobs_object(tokens)}


class _Call:
    """One tool call while it grows."""

    def __init__(self, first: ToolCallDelta | ToolCall) -> None:
        self._id = first.call_id
        self._name = first.name
        self.arguments = GrowingText()

    def as_object(self) -> dict[str, Any]:
        function = {"name": self._name, "arguments": str(self.arguments)}
        return {"id": self._id, "type": "function", "function": function}


class _Choice:
    """One choice of an answer while it grows."""

    def __init__(self) -> None:
        self.text = GrowingText()
        self.refusal = GrowingText()
        self.reasoning = GrowingText()
        self.calls: dict[int, _Call] = {}
        self._logprobs: dict[str, list[dict[str, Any]]] = {}

    def add_call(self, index: int, event: ToolCallDelta | ToolCall) -> None:
        self.calls.setdefault(index, _Call(event)).arguments.add(event.arguments)

    def add_logprobs(self, key: str, tokens: tuple[TokenLogprob, ...] | None) -> None:
        if tokens is not None:
            self._logprobs.setdefault(key, []).extend(logprobs_object(tokens))

    def message(self, *, old_calls: bool) -> dict[str, Any]:
        text, refusal = str(self.text), str(self.refusal)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not (self.calls or refusal) else None,
            "refusal": refusal or None,
        }
        if reasoning := str(self.reasoning):
            message["reasoning_content"] = reasoning
        calls = [call.as_object() for call in self.calls.values()]
        if calls and old_calls:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        return message

    def logprobs(self) -> dict[str, Any] | None:
        return {"content": None, "refusal": None, **self._logprobs} if self._logprobs else None


class ChatBodyEncoder(BodyEncoder):
    """One ``chat.completion`` object."""

    def __init__(self, run_id: uuid.UUID, model: str, created: int, *, old_calls: bool = False) -> None:
        self._head = {
            "id": ids.chat_completion_id(run_id),
            "object": "chat.completion",
            "created": created,
            "model": model,
        }
        self._old_calls = old_calls
        self._choices: dict[int, _Choice] = {}
        self._indexes = ToolCallIndexes()

    def event(self, event: AgentEvent) -> None:
        """Add one event to its choice."""
        match event:
            case TextDelta():
                choice = self._choice(event.choice)
                choice.text.add(event.text)
                choice.add_logprobs("content", event.logprobs)
            case RefusalDelta():
                choice = self._choice(event.choice)
                choice.refusal.add(event.text)
                choice.add_logprobs("refusal", event.logprobs)
            case ReasoningDelta():
                self._choice(event.choice).reasoning.add(event.text)
            case ToolCallDelta() | ToolCall():
                self._choice(event.choice).add_call(self._indexes.of(event), event)
            case Finish() | Usage() | ToolActivity() | MessagePhase():
                pass
            case _:
                assert_never(event)

    def body(self, result: Completed) -> bytes:
        """The whole answer."""
        choices = [
            {
                "index": index,
                "message": self._choice(index).message(old_calls=self._old_calls),
                "logprobs": self._choice(index).logprobs(),
                "finish_reason": finish_reason(reason, old_calls=self._old_calls),
            }
            for index, reason in result.reasons.items()
        ]
        return sse.dumps({**self._head, "choices": choices, "usage": usage_object(result.usage)})

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())
