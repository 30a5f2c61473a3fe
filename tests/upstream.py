"""A real, small OpenAI-compatible upstream on a loopback socket, with a log of its own of who hung up when.

In a test's own loop::

    async with Upstream() as upstream:
        ...  # upstream.base_url
        entry = await upstream.wait_for(lambda entry: entry.hung_up)

As a process, for tests that block: ``with UpstreamProcess() as upstream`` or ``python -m tests.upstream --port 0``,
which prints its port as the first line. The log is also at ``GET /log``.

A request's model says what happens:

    words-N             N words at once, for each of `n` choices
    slow-NxMms          N words, M ms before each
    think-Mms           no head for M ms, then one word
    silent              no answer at all
    head-then-silent    the head, and no body
    stall-after-N       N words, then nothing
    cut-after-N         N words, then the connection is closed in mid-body
    end-after-N         N words, then a proper end of the body without a finish reason
    mid-error-N         N words, then an error frame
    tool reasoning refusal logprobs     one of each
    no-done             one word and a finish reason, but no [DONE]
    late-end no-end     one word and [DONE], but the end of the body comes 20 ms later, or never
    nonstream           a JSON body in spite of ``stream``
    garbage             one word, then an event that is no JSON
    error-STATUS        an error envelope, which repeats the key that was sent
    error-STATUS-html   a page in place of it
    redirect            to somewhere else

The header ``x-upstream: deaf`` makes it stop reading after the head of the request (until `listen_again`).
"""

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from gateway_project import clock
from tests.upstream_answers import Entry, pieces, whole

_SSE = "text/event-stream"
_JSON = "application/json"
_MESSAGES = {429: "Rate limit reached for organization org-abcdef123456.", 400: "'temperature' is too hot."}


class Upstream:
    """The server: one port, one log."""

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.log: list[Entry] = []
        self.connections = 0
        self._open: set[_Connection] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """For the option ``base_url``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "Upstream":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        for _turn in range(3):  # Who is on the way comes in: asyncio forgets him when the server is closed by then.
            await asyncio.sleep(0)
        self._server.close()
        for connection in tuple(self._open):
            connection.abort()
        await self._server.wait_closed()

    async def wait_for(self, condition: Callable[[Entry], bool], *, within: float = 30) -> Entry:
        """The first entry that fulfils `condition`, as soon as there is one."""
        async with asyncio.timeout(within):
            while True:
                self._changed.clear()
                for entry in self.log:
                    if condition(entry):
                        return entry
                await self._changed.wait()

    async def all_closed(self, *, within: float = 30) -> None:
        """Wait until no connection is open."""
        async with asyncio.timeout(within):
            while self._open:
                self._changed.clear()
                await self._changed.wait()

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._open)

    def listen_again(self) -> None:
        """Read on, on the connections that went deaf."""
        for connection in self._open:
            connection.transport.resume_reading()

    def changed(self) -> None:
        """Something was written into the log."""
        self._changed.set()

    def opened(self, connection: "_Connection") -> int:
        """Count a connection."""
        self._open.add(connection)
        self.connections += 1
        return self.connections

    def closed(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self._open.discard(connection)
        self.changed()


class _Connection(asyncio.Protocol):
    """One connection: one request after the other. It learns of the other side's close in that very moment."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str], int] | None = None
        self._entry: Entry | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._number = self._upstream.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is not None and not self._task.done():
            return
        if self._head is None:
            self._read_head()
        if self._head is not None and len(self._buffer) >= self._head[3]:
            method, path, _, length = self._head
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._head = None
            self._task = asyncio.get_running_loop().create_task(self._serve(method, path, body))

    def eof_received(self) -> bool:
        return False  # Who says goodbye while an answer is due has hung up: close, and see it in connection_lost.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        entry = self._entry
        if entry is not None and entry.finished_at is None and not entry.hung_up:
            entry.hung_up, entry.hung_up_at = True, clock.now().isoformat()
        self._upstream.closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """The server itself ends."""
        self._entry = None
        self.transport.abort()

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._head = (method, path, headers, int(headers.get("content-length", 0)))
        if method == "POST":
            log = self._upstream.log
            self._entry = Entry(len(log), self._number, clock.now().isoformat(), path, headers)
            log.append(self._entry)
            if headers.get("x-upstream") == "deaf":
                self.transport.pause_reading()
            self._upstream.changed()

    # -- answers --------------------------------------------------------------------------------------

    async def _serve(self, method: str, path: str, body: bytes) -> None:
        if method == "GET":
            found = (
                [asdict(entry) for entry in self._upstream.log] if path == "/log" else {"object": "list", "data": []}
            )
            self._whole(200, json.dumps(found))
            return
        entry = self._entry
        assert entry is not None
        entry.body = json.loads(body)
        entry.model = entry.body.get("model", "")
        entry.body_complete = True
        self._upstream.changed()
        await self._answer(entry)
        entry.finished_at = clock.now().isoformat()
        self._upstream.changed()

    async def _answer(self, entry: Entry) -> None:
        model = entry.model
        if model == "silent":
            await asyncio.Event().wait()
        if match := re.fullmatch(r"think-(\d+)ms", model):
            await asyncio.sleep(int(match[1]) / 1000)
        if match := re.fullmatch(r"error-(\d+)(-html)?", model):
            self._error(int(match[1]), entry.headers.get("authorization", ""), html=bool(match[2]))
        elif model == "redirect":
            self._whole(307, "{}", {"location": "http://127.0.0.1:9/v1/chat/completions"})
        elif model == "nonstream" or not entry.body.get("stream"):
            self._whole(200, json.dumps(whole(entry.body)))
        else:
            await self._stream(entry)

    async def _stream(self, entry: Entry) -> None:
        self._write(_head(200, {"content-type": _SSE, "transfer-encoding": "chunked"}))
        async for event in pieces(entry):
            if event is None:
                self.transport.close()
                return
            self._write(b"%x\r\n%s\r\n" % (len(event), event))
            self._upstream.changed()
            await self._writable.wait()
        if entry.model == "late-end":
            await asyncio.sleep(0.02)
        elif entry.model == "no-end":
            await asyncio.Event().wait()
        self._write(b"0\r\n\r\n")

    def _error(self, status: int, authorization: str, *, html: bool) -> None:
        headers = {"retry-after": "7"} if status in (429, 503) else {}
        if html:
            self._whole(status, "<h1>Something is wrong</h1>", headers, _SSE.replace("event-stream", "html"))
            return
        message = f"{_MESSAGES.get(status, 'Something is wrong.')} You sent {authorization!r}."
        param = "temperature" if status == 400 else None
        error = {"message": message, "type": "some_error", "param": param, "code": f"code_{status}"}
        self._whole(status, json.dumps({"error": error}), headers)

    def _whole(
        self, status: int, body: str, headers: Mapping[str, str] | None = None, content_type: str = _JSON
    ) -> None:
        payload = body.encode()
        length = {"content-type": content_type, "content-length": str(len(payload))}
        self._write(_head(status, length | dict(headers or {})) + payload)

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class UpstreamProcess:
    """The same server in a process of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def base_url(self) -> str:
        """For the option ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "UpstreamProcess":
        command = [sys.executable, "-m", "tests.upstream", "--port", "0"]
        root = Path(__file__).resolve().parent.parent
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def log(self) -> list[Entry]:
        """Every request so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log", timeout=60) as reply:
            return [Entry(**entry) for entry in json.load(reply)]

    def wait_for(self, condition: Callable[[Entry], bool], *, within: float = 30) -> Entry:
        """The first entry that fulfils `condition`, as soon as there is one."""
        until = time.monotonic() + within
        while True:
            log = self.log()
            for entry in log:
                if condition(entry):
                    return entry
            assert time.monotonic() < until, f"no such entry within {within} s in {log}"
            time.sleep(0.01)


async def _main(port: int) -> None:
    async with Upstream(port) as upstream:
        print(upstream.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_main(parser.parse_args().port))
