"""A small HTTP server on loopback that serves files well and badly, with a log of its own.

Paths: those of `FILES`; ``/redirect?STATUS&URL``; ``/status/N``; ``/endless`` (a body without an end); ``/slow`` (a
byte each 50 ms, for ever); ``/silent`` (no answer); ``/lying`` (announces a gigabyte); ``/cut`` (less than announced);
``/gzip``; ``/many-N`` (N bytes of text).
"""

import asyncio
import gzip
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
FILES: dict[str, tuple[str, bytes]] = {
    "/cat.png": ("image/png", PNG),
    "/cat.txt": ("text/plain", PNG),
    "/liar.png": ("image/png", b"<html><p>No cat</html>"),
    "/note.txt": ("text/plain; charset=utf-8", "Grüße </file>".encode()),
    "/data.csv": ("text/csv", b"a,b\n1,2\n"),
    "/page.html": ("text/html", b"<html><head><title>T</title></head><body><p>Hello</p><script>x</script></html>"),
    "/tone.wav": ("audio/wav", b"RIFF\x24\0\0\0WAVEfmt "),
    "/empty.png": ("image/png", b""),
}


@dataclass
class Visit:
    """One request. `closed` is set when its connection is gone."""

    path: str
    headers: dict[str, str]
    closed: bool = False


@dataclass
class FileServer:
    """Runs in a loop of its own, in a thread: for tests that block and for those that do not."""

    address: str = "127.0.0.1"
    port: int = 0
    tls: Path | None = None
    """A file with certificate and key."""
    log: list[Visit] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def __enter__(self) -> "FileServer":
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        context = None
        if self.tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.tls)
        listening = asyncio.start_server(self._serve, self.address, self.port, ssl=context)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop)
        self._server = server.result(30)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def host(self) -> str:
        """As it stands in a URL and in a setting."""
        return f"{self.address}:{self.port}"

    def url(self, path: str) -> str:
        """Of one of its paths."""
        return f"http://{self.host}{path}"

    def visit(self, condition: Callable[[Visit], bool], *, within: float = 30) -> Visit:
        """The first visit that fulfils `condition`, as soon as there is one."""
        until = time.monotonic() + within
        while True:
            for visit in tuple(self.log):
                if condition(visit):
                    return visit
            assert time.monotonic() < until, f"no such visit within {within} s in {self.log}"
            time.sleep(0.005)

    async def _end(self) -> None:
        """Drop every connection, and leave only then: asyncio forgets who is still on the way to a closed server."""
        for listening in self._server.sockets:
            self._loop.remove_reader(listening)
        while True:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0)  # What was dropped is told so in the next turn.
            if not (tasks := asyncio.all_tasks() - {asyncio.current_task()}):
                break
            await asyncio.wait(tasks, timeout=0.01)
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()  # He has left without asking.

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        visit = Visit(head[0].split()[1], {name.lower(): value.strip() for name, _, value in pairs})
        self.log.append(visit)
        answer = asyncio.ensure_future(self._answer(visit.path, writer))
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            visit.closed = gone.done()
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)
            writer.transport.abort() if visit.closed else writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        path, _, query = path.partition("?")
        if path == "/silent":
            await asyncio.Event().wait()
        if path in ("/endless", "/slow"):
            writer.write(_head(200, "text/plain", "transfer-encoding: chunked"))
            while True:
                writer.write(b"1\r\na\r\n" if path == "/slow" else b"10000\r\n" + b"a" * 65536 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.05 if path == "/slow" else 0)
        writer.write(self._whole(path, query))
        await writer.drain()
        if path == "/lying":
            await asyncio.Event().wait()

    def _whole(self, path: str, query: str) -> bytes:
        if path == "/redirect":
            status, _, target = query.partition("&")
            return _head(int(status), "text/plain", f"location: {unquote(target)}", "content-length: 0")
        if path.startswith("/status/"):
            return _head(int(path.removeprefix("/status/")), "text/plain", "content-length: 2") + b"no"
        if path == "/lying":
            return _head(200, "text/plain", "content-length: 1000000000") + b"a"
        if path == "/cut":
            return _head(200, "text/plain", "content-length: 10") + b"a"
        if path == "/gzip":
            body = gzip.compress(b"a" * 1_000_000)
            return _head(200, "text/plain", "content-encoding: gzip", f"content-length: {len(body)}") + body
        kind, body = FILES[path] if path in FILES else ("text/plain", b"a" * int(path.removeprefix("/many-")))
        return _head(200, kind, f"content-length: {len(body)}") + body


def _head(status: int, content_type: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {content_type}", "connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
