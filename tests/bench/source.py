"""A cheap upstream in a process of its own: it answers from memory, so that it is not what is measured.

``python -m tests.bench.source`` prints its port as the first line. A request's model says what comes: ``one`` is a
short answer in one write; ``burst-NxM`` N words, M of them in each write; ``paced-NxMms`` N words, one each M ms.
Every event is an HTTP chunk of its own, as servers send them. Who asks for no stream is answered with JSON.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from tests.e2e.gateway import ROOT

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_MODEL = re.compile(rb'"model":\s*"(one|burst-\d+x\d+|paced-\d+x\d+ms)"')
_STREAM = re.compile(rb'"stream":\s*true')
_WORDS = (" alpha", " bravo", " charlie", " delta", " echo", " foxtrot", " golf", " hotel", " india", " juliett")


def _event(**values: object) -> bytes:
    chunk = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m", **values}
    return _framed(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _choice(delta: dict[str, str], reason: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]


@cache
def _writes(model: str) -> tuple[Sequence[bytes], float]:
    """What is written, and the seconds before each write."""
    numbers = [int(number) for number in re.findall(r"\d+", model)]
    words, each = (numbers[0], numbers[1]) if numbers else (1, 1)
    pause = each / 1e3 if model.startswith("paced") else 0.0
    events = [_event(choices=_choice({"content": _WORDS[i % 10]})) for i in range(words)]
    size = 1 if pause or not numbers else each
    writes = [b"".join(events[start : start + size]) for start in range(0, words, size)]
    usage = {"prompt_tokens": 3, "completion_tokens": words, "total_tokens": words + 3}
    end = (_event(choices=_choice({}, "stop")), _event(choices=[], usage=usage), _framed(b"data: [DONE]\n\n"))
    begin = _HEAD + _event(choices=_choice({"role": "assistant", "content": ""}))
    writes[0] = begin + writes[0]
    writes[-1] += b"".join(end) + b"0\r\n\r\n"
    return writes, pause


@cache
def _whole() -> bytes:
    """The short answer to those that want it in one piece."""
    choice = {"index": 0, "message": {"role": "assistant", "content": _WORDS[0]}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    answer = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Connection(asyncio.Protocol):
    """One request after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        _, found, body = self._buffer.partition(b"\r\n\r\n")
        match = _MODEL.search(body)
        if found and match and body.endswith(b"}") and body.count(b"{") == body.count(b"}"):
            self._buffer = b""
            if _STREAM.search(body):
                writes, pause = _writes(match[1].decode())
                self._write(writes, 0, pause)
            else:
                self.transport.write(_whole())

    def _write(self, writes: Sequence[bytes], number: int, pause: float) -> None:
        if number and self.transport.is_closing():
            return
        self.transport.write(writes[number])
        if number + 1 < len(writes):
            asyncio.get_running_loop().call_later(pause, self._write, writes, number + 1, pause)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def source() -> Iterator[int]:
    """Start one; gives its port."""
    command = [sys.executable, "-m", "tests.bench.source"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    asyncio.run(_serve())
