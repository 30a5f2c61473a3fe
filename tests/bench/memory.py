"""What open, silent streams cost the process, and what new requests feel of them."""

import asyncio
from pathlib import Path
from typing import Any

from tests.bench.clients import Client, all_ended, openai_config, request
from tests.bench.crowd import MODEL, allow_files, open_streams
from tests.bench.load import measure
from tests.bench.readers import memory as resident
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT
from tests.upstream import Upstream


async def memory(store: Store, folder: Path, *, steps: tuple[int, ...], requests: int) -> dict[str, Any]:
    """Open ever more streams that stay silent; at each step the memory, and so many new requests."""
    allow_files(2 * max(steps) + 200)
    async with Upstream() as upstream:
        gateway = Gateway(store, openai_config(upstream), folder)
        clients: list[Client] = []
        try:
            await asyncio.to_thread(gateway.start)
            asked = request(gateway, CHAT, "words-1", stream=False)
            await measure(gateway.port, gateway.pid, asked, requests=requests, clients=8)
            rows: dict[str, Any] = {}
            before = resident(gateway.pid)
            for step in steps:
                clients += await open_streams(gateway, step - len(clients), MODEL)
                await asyncio.sleep(0.5)
                grown = resident(gateway.pid) - before
                beside = await measure(gateway.port, gateway.pid, asked, requests=requests, clients=4)
                rows[str(step)] = {
                    "kib_each": round(grown / step / 1024, 1) if step else 0.0,
                    "p50_ms": round(beside.p50_ms, 2),
                    "p99_ms": round(beside.p99_ms, 2),
                }
            for client in clients:
                client.leave("rst")
            found = await all_ended(gateway)
        finally:
            gateway.stop()
    return {"steps": rows, "ended": found}


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        "Open streams that are silent, each with its run's record and its upstream connection",
        "",
        *(
            f"  {step:>5} open   {row['kib_each']:6.1f} KiB each   new requests: "
            f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
            for step, row in results["steps"].items()
        ),
    ]
