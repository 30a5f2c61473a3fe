"""What readers that never read cost the process while their agents write without end."""

import asyncio
import socket
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tests.bench.clients import STOPPED, Client, all_ended, connect, openai_config, request
from tests.bench.load import cpu_seconds
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import ROUTES
from tests.upstream import Upstream

ENDLESS = {"scripted": "scripted/count-900000", "openai": "openai/words-900000"}
"""More than any of the buffers on the way takes."""
STUCK_FOR = 0.5
"""Seconds without any work of the process, after which nothing moves any more."""


async def readers(store: Store, folder: Path, *, number: int, window: int | None = None) -> dict[str, Any]:
    """For each route and agent: how much a fresh process grows by so many stuck readers.

    Args:
        window: bytes that the readers' kernel takes for them. The fewer, the sooner all is stuck; by default it
            decides itself, and takes megabytes.
    """
    results = {}
    async with Upstream() as upstream:
        config = openai_config(upstream, SLOW_READER_SECONDS=0)
        config["AGENTS"] |= {"scripted": CONFIG["AGENTS"]["scripted"]}
        for agent, route in product(ENDLESS, ROUTES):
            gateway = Gateway(store, config, folder)
            try:
                await asyncio.to_thread(gateway.start)
                asked = request(gateway, route, ENDLESS[agent], stream=True)
                results[f"{route.name} {agent}"] = await _growth(gateway, asked, number, window)
                found = await all_ended(gateway)
            finally:
                gateway.stop()
    return {
        "readers": number,
        "asked": len(results) * (number + number // 5),
        "recorded": found.get(STOPPED, 0),
        "recorded_otherwise": {name: count for name, count in found.items() if name != STOPPED},
        "bytes_each": results,
    }


async def _growth(gateway: Gateway, asked: bytes, number: int, window: int | None) -> int:
    """Bytes for each of so many readers, after a few that fill the allocator's own pools."""
    _leave(await _stuck(gateway, asked, number // 5, window))
    await all_ended(gateway)
    before = memory(gateway.pid)
    clients = await _stuck(gateway, asked, number, window)
    grown = memory(gateway.pid) - before
    _leave(clients)
    await all_ended(gateway)
    return grown // number


async def _stuck(gateway: Gateway, asked: bytes, number: int, window: int | None) -> list[Client]:
    """Clients that read the beginning of their answers and then no more, when the server has nothing left to do."""
    clients = []
    for _ in range(number):
        client = await connect(gateway.port, asked, until=b"alpha")
        await client.has_begun.wait()
        client.transport.pause_reading()
        if window is not None:
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        clients.append(client)
    worked = -1.0
    while (now := cpu_seconds(gateway.pid)) != worked:
        worked = now
        await asyncio.sleep(STUCK_FOR)
    return clients


def _leave(clients: Sequence[Client]) -> None:
    for client in clients:
        client.leave("rst")


def memory(pid: int) -> int:
    """Bytes of physical memory that the process holds."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        f"KiB of the process for each of {results['readers']} readers that never read, beside an endless answer",
        "",
        *(f"  {name:22} {found / 1024:9.1f}" for name, found in results["bytes_each"].items()),
        f"  {results['recorded']} of {results['asked']} recorded as {STOPPED}",
        *(f"  and {number} {name}" for name, number in results["recorded_otherwise"].items()),
    ]
