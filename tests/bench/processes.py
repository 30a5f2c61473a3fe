"""Several processes on one PostgreSQL: what a request costs each of them, and all of them together."""

import asyncio
from pathlib import Path
from typing import Any

from tests.bench.clients import openai_config_at, request
from tests.bench.load import cpu_seconds, measure
from tests.bench.source import source
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT

CLIENTS = 64
"""Of each process: with fewer for each a run would share its commit with fewer others, and that would be measured."""


async def processes(store: Store, folder: Path, *, numbers: tuple[int, ...], scale: float) -> dict[str, Any]:
    """So many gateways on one database, one number after the other, and as many clients for each of them."""
    count = max(64, int(6000 * scale))
    results: dict[str, Any] = {}
    with source() as port:
        config = openai_config_at(f"http://127.0.0.1:{port}/v1")
        for number in numbers:
            gateways = [Gateway(store, config, folder / f"{number}-{index}") for index in range(number)]
            try:
                for gateway in gateways:
                    gateway.folder.mkdir()
                    await asyncio.to_thread(gateway.start)
                await _load(gateways, count // 5)
                results[str(number)] = await _load(gateways, count)
            finally:
                for gateway in gateways:
                    gateway.stop()
    return {"database": store.kind, "processes": results}


async def _load(gateways: list[Gateway], count: int) -> dict[str, float]:
    asked = [request(gateway, CHAT, "one", stream=False) for gateway in gateways]
    share = count // len(gateways)
    loop = asyncio.get_running_loop()
    before, began = sum(cpu_seconds(gateway.pid) for gateway in gateways), loop.time()
    found = await asyncio.gather(
        *(
            measure(gateway.port, gateway.pid, each, requests=share, clients=CLIENTS)
            for gateway, each in zip(gateways, asked, strict=True)
        )
    )
    spent, wall = sum(cpu_seconds(gateway.pid) for gateway in gateways) - before, loop.time() - began
    number = sum(series.requests for series in found)
    return {"cpu_us_per_request": round(spent * 1e6 / number, 1), "requests_per_second": round(number / wall, 1)}


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        f"Processes on one {results['database']}, with load and upstream on the same cores",
        "",
        *(
            f"  {number} processes   {row['cpu_us_per_request']:8.1f} us of CPU a request   "
            f"{row['requests_per_second']:8.1f} requests/s"
            for number, row in results["processes"].items()
        ),
    ]
