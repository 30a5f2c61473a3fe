"""Requests and chunks a second, and how evenly events come: bare daphne, the upstream itself, through the gateway.

The server has a core of its own, where there are two; load and upstream share the other.
"""

import asyncio
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench.clients import openai_config_at, post, request
from tests.bench.costs import BURST, CHUNKS, PACED, STREAMS
from tests.bench.load import measure, pinned
from tests.bench.source import source
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT

CLIENTS = (1, 16, 64, 256)
PACE_MS = 10


async def throughput(store: Store, folder: Path, *, scale: float) -> dict[str, Any]:
    """Start the servers, load one after the other, stop them."""
    (folder / "floor").mkdir()
    with pinned() as prefix, source() as port:
        floor = Gateway(store, {}, folder / "floor", "tests.bench.floor:application", command_prefix=prefix)
        gateway = Gateway(store, openai_config_at(f"http://127.0.0.1:{port}/v1"), folder, command_prefix=prefix)
        try:
            floor.start()
            gateway.start()
            return await _series(floor, gateway, port, scale=scale)
        finally:
            floor.stop()
            gateway.stop()


async def _series(floor: Gateway, gateway: Gateway, port: int, *, scale: float) -> dict[str, Any]:
    chat = "/v1/chat/completions"
    servers = {"floor": floor, "upstream": None, "gateway": gateway}
    plain = {
        "floor": post("/json", b"{}"),
        "upstream": post(chat, CHAT.body("one", stream=False)),
        "gateway": request(gateway, CHAT, "one", stream=False),
    }
    streams = {
        "floor": post(f"/stream?{CHUNKS}", b"{}"),
        "upstream": post(chat, CHAT.body(BURST, stream=True)),
        "gateway": request(gateway, CHAT, BURST, stream=True),
    }
    many, few = max(20, int(3000 * scale)), max(16, int(300 * scale))
    results: dict[str, Any] = {"json": {}, "stream": {}, "paced": {}}
    for name, server in servers.items():
        at, pid = (server.port, server.pid) if server is not None else (port, 0)
        for clients in CLIENTS:
            # As many on each connection as to make a difference to opening it.
            series = await measure(at, pid, plain[name], requests=max(many, 4 * clients), clients=clients)
            results["json"].setdefault(str(clients), {})[name] = {
                "requests_per_second": round(series.requests / series.wall_us * 1e6, 1),
                "p50_ms": round(series.p50_ms, 2),
                "p99_ms": round(series.p99_ms, 2),
            }
        series = await measure(at, pid, streams[name], requests=few, clients=16)
        per_second = series.requests / series.wall_us * 1e6
        results["stream"][name] = {
            "streams_per_second": round(per_second, 1),
            "chunks_per_second": round(per_second * CHUNKS),
        }
    for name, at, asked in (
        ("upstream", port, post(chat, CHAT.body(PACED, stream=True))),
        ("gateway", gateway.port, request(gateway, CHAT, PACED, stream=True)),
    ):
        results["paced"][name] = await _jitter(at, asked, streams=max(2, int(STREAMS * scale)))
    return results


class _Listener(asyncio.Protocol):
    """Notes when something came."""

    def __init__(self, asked: bytes) -> None:
        self.times: list[float] = []
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        self.times.append(asyncio.get_running_loop().time())
        if b"[DONE]" in data:
            self._transport.close()
            self.is_over.set_result(None)


async def _jitter(port: int, asked: bytes, *, streams: int) -> dict[str, float]:
    """How far the pauses between events are from the upstream's, in milliseconds."""
    loop = asyncio.get_running_loop()

    async def listen() -> list[float]:
        _, listener = await loop.create_connection(lambda: _Listener(asked), "127.0.0.1", port)
        await listener.is_over
        return [abs((later - earlier) * 1e3 - PACE_MS) for earlier, later in pairwise(listener.times[1:-1])]

    off = [span for spans in await asyncio.gather(*(listen() for _ in range(streams))) for span in spans]
    return {"p50_ms": round(median(off), 2), "p99_ms": round(quantiles(off, n=100)[98], 2)}


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    lines = ["Through to an upstream, every record durable; floor: bare daphne from memory", ""]
    for clients, row in results["json"].items():
        for name, found in row.items():
            lines.append(
                f"  json, {clients:>3} clients  {name:9} {found['requests_per_second']:9.1f} requests/s   "
                f"p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms"
            )
    for name, found in results["stream"].items():
        lines.append(
            f"  streams            {name:9} {found['streams_per_second']:9.1f} streams/s, "
            f"{found['chunks_per_second']} chunks/s"
        )
    for name, found in results["paced"].items():
        lines.append(
            f"  an event each {PACE_MS} ms {name:9} off by p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms"
        )
    return lines
