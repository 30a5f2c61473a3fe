"""How long a process takes until it is ready, beside bare daphne."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store, wait_for
from tests.e2e.wire import ask


async def start(store: Store, folder: Path, *, times: int) -> dict[str, Any]:
    """Start each so often, and stop it."""
    (folder / "floor").mkdir()
    floor = Gateway(store, {}, folder / "floor", "tests.bench.floor:application")
    gateway = Gateway(store, CONFIG, folder)
    seconds: dict[str, list[float]] = {"floor": [], "gateway": []}
    for _ in range(times):
        seconds["floor"].append(await asyncio.to_thread(_until, floor, lambda: True))
        seconds["gateway"].append(
            await asyncio.to_thread(_until, gateway, lambda: ask(gateway.port, "GET", "/readyz", key="").status == 200)
        )
    return {name: round(median(found), 2) for name, found in seconds.items()}


def _until(server: Gateway, is_ready: Callable[[], bool]) -> float:
    began = time.monotonic()
    try:
        server.start()
        wait_for(is_ready, within=60, what="readiness")
        return time.monotonic() - began
    finally:
        server.stop()


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [f"Ready after {results['gateway']} s; bare daphne answers after {results['floor']} s"]
