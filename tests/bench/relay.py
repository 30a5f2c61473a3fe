"""The floor of an abort: a bare relay in a process of its own, which closes one side when the other is closed.

``python -m tests.bench.relay UPSTREAM_PORT`` prints its port as the first line.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.gateway import ROOT


class _Side(asyncio.Protocol):
    """One of the two connections. What comes before the other is there is kept for it."""

    def __init__(self) -> None:
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self._kept = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is not None:
            transport.write(bytes(self.other._kept))

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self._kept += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abort()


async def _serve(upstream_port: int) -> None:
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[object]] = set()

    def accept() -> _Side:
        near, far = _Side(), _Side()
        near.other, far.other = far, near
        task: asyncio.Task[object] = loop.create_task(loop.create_connection(lambda: far, "127.0.0.1", upstream_port))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def relay(upstream_port: int) -> Iterator[int]:
    """Start one; gives its port."""
    command = [sys.executable, "-m", "tests.bench.relay", str(upstream_port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
