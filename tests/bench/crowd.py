"""Thousands of open streams, dropped at once: all settle, all are recorded."""

import asyncio
import resource
from pathlib import Path
from typing import Any

from tests.bench.clients import STOPPED, Client, all_ended, connect, openai_config, request
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import ROUTES
from tests.upstream import Upstream

MODEL = "stall-after-3"
AT_A_TIME = 100
"""Streams that are being opened at the same time."""


async def crowd(store: Store, folder: Path, *, streams: int) -> dict[str, Any]:
    """Open so many streams over all routes and leave them in one go, by FIN and RST in turn."""
    allow_files(2 * streams + 200)
    async with Upstream() as upstream:
        gateway = Gateway(store, openai_config(upstream), folder)
        try:
            await asyncio.to_thread(gateway.start)
            return await _drop(gateway, upstream, streams)
        finally:
            gateway.stop()


async def _drop(gateway: Gateway, upstream: Upstream, streams: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    clients = await open_streams(gateway, streams, MODEL)
    opened = loop.time() - began
    began = loop.time()
    for number, client in enumerate(clients):
        client.leave("rst" if number % 2 else "fin")
    left = loop.time() - began
    await upstream.all_closed(within=300)
    closed = loop.time() - began
    found = await all_ended(gateway)
    recorded = loop.time() - began
    return {
        "streams": streams,
        "upstream_requests": len(upstream.log),
        "upstream_closed": sum(entry.hung_up for entry in upstream.log),
        "recorded": found.get(STOPPED, 0),
        "recorded_otherwise": {name: number for name, number in found.items() if name != STOPPED},
        "notes": len(gateway.store.query("SELECT id FROM gateway_run_note")),
        "seconds_to_open": round(opened, 2),
        "seconds_to_leave": round(left, 2),
        "seconds_until_closed": round(closed, 2),
        "seconds_until_recorded": round(recorded, 2),
    }


async def open_streams(gateway: Gateway, streams: int, model: str) -> list[Client]:
    """Open so many over all routes, and wait until each has begun."""
    requests = [request(gateway, route, model, stream=True) for route in ROUTES]
    turns = iter(range(streams))
    clients: list[Client] = []

    async def opener() -> None:
        for turn in turns:
            client = await connect(gateway.port, requests[turn % len(requests)], until=b"charlie")
            clients.append(client)
            await client.has_begun.wait()

    async with asyncio.timeout(60 + streams / 10), asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(opener())
    return clients


def allow_files(number: int) -> None:
    """For this process and the server that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, max(number, hard)))


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        f"{results['streams']} open streams, dropped at once (in {results['seconds_to_leave']} s)",
        "",
        f"  {results['upstream_closed']} of {results['upstream_requests']} upstream connections closed after "
        f"{results['seconds_until_closed']} s",
        f"  {results['recorded']} recorded as {STOPPED}, the last after {results['seconds_until_recorded']} s; "
        f"{results['notes']} notes",
        *(f"  and {number} {name}" for name, number in results["recorded_otherwise"].items()),
    ]
