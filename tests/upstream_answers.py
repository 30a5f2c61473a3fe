"""What the test upstream says: its words, its special answers, its ways to end. See `tests.upstream`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett")
_WITH_NUMBER = re.compile(r"(words|slow|stall-after|cut-after|end-after|mid-error)-(\d+)(?:x(\d+)ms)?")


@dataclass
class Entry:
    """What is known of one request. Times are UTC, ISO 8601."""

    number: int
    connection: int
    received_at: str
    path: str
    headers: dict[str, str]
    model: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    body_complete: bool = False
    words_sent: int = 0
    finished_at: str | None = None
    """When the answer came to its natural end."""
    hung_up: bool = False
    """Whether the other side closed the connection before that."""
    hung_up_at: str | None = None


def _event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _chunk(delta: Mapping[str, Any], *, index: int = 0, reason: str | None = None, logprobs: Any = None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
    return _event(
        {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


async def pieces(entry: Entry) -> AsyncIterator[bytes | None]:
    """The pieces of a stream, one server-sent event each; None closes the connection."""
    match = _WITH_NUMBER.fullmatch(entry.model)
    kind, count, pause = (match[1], int(match[2]), int(match[3] or 0)) if match else (entry.model, 1, 0)
    if kind == "head-then-silent":
        await asyncio.Event().wait()
    for number in range(0 if kind in _SPECIAL else count):
        if pause:
            await asyncio.sleep(pause / 1000)
        entry.words_sent += 1
        yield b"".join(_chunk({"content": word(number)}, index=index) for index in range(_choices(entry.body)))
    for piece in _SPECIAL.get(kind, ()):
        yield piece
    if kind == "stall-after":
        await asyncio.Event().wait()
    if kind in _ENDINGS:
        yield _ENDINGS[kind]
        return
    for index in range(_choices(entry.body)):
        yield _chunk({}, index=index, reason="tool_calls" if kind == "tool" else "stop")
    if (entry.body.get("stream_options") or {}).get("include_usage"):
        yield _event({"choices": [], "usage": _usage(5, count)})
    if kind != "no-done":
        yield b"data: [DONE]\n\n"


def word(number: int) -> str:
    """The word of that number, with a blank before all but the first."""
    return ("" if number == 0 else " ") + _WORDS[number % len(_WORDS)]


def _choices(body: Mapping[str, Any]) -> int:
    return int(body.get("n") or 1)


def _call(index: int, **rest: Any) -> bytes:
    return _chunk({"tool_calls": [{"index": index, **rest}]})


_SPECIAL: dict[str, list[bytes]] = {
    "tool": [
        _call(0, id="call_a", type="function", function={"name": "weather", "arguments": ""}),
        _call(0, function={"arguments": '{"city":'}),
        _call(0, function={"arguments": ' "Paris"}'}),
        _call(1, id="call_b", type="function", function={"name": "weather", "arguments": "{}"}),
    ],
    "reasoning": [_chunk({"reasoning_content": "Hm. "}), _chunk({"reasoning": "Yes."}), _chunk({"content": "42"})],
    "refusal": [_chunk({"refusal": "I will not."})],
    "logprobs": [
        _chunk(
            {"content": "Hi"},
            logprobs={
                "content": [
                    {
                        "token": "Hi",
                        "logprob": -0.5,
                        "bytes": [72, 105],
                        "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": None}],
                    }
                ],
                "refusal": None,
            },
        )
    ],
}


_ENDINGS: dict[str, bytes | None] = {
    "cut-after": None,
    "end-after": b": that was all\n\n",
    "garbage": b"data: {not json\n\n",
    "mid-error": _event(
        {"error": {"message": "The engine died.", "type": "server_error", "code": None, "param": None}}
    ),
}
"""What stands in place of a finish reason."""


def whole(body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that is not streamed."""
    message = {"role": "assistant", "content": "all at once", "refusal": None}
    choices = [{"index": index, "message": message, "finish_reason": "stop"} for index in range(_choices(body))]
    return {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "m"} | {
        "choices": choices,
        "usage": _usage(5, 3),
    }
