"""From the client's close to the upstream's connection closed, beside a bare relay that does nothing else."""

import asyncio
import random
from datetime import datetime
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from gateway_project import clock
from tests.bench.clients import STOPPED, all_ended, connect, openai_config, post, request
from tests.bench.relay import relay
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT, ROUTES
from tests.e2e.wire import Leaving
from tests.upstream import Upstream

MODEL = "slow-100000x10ms"
PAUSE = 0.01
"""Seconds between two words: the client leaves at a random moment between them."""
LOST_AFTER = 30.0
BUSY = 64
"""Streams, an event each 10 ms, beside which the last series is made."""
WAYS: tuple[Leaving, ...] = ("fin", "rst")


async def abort(store: Store, folder: Path, *, trials: int) -> dict[str, Any]:
    """So many trials of each route, mode and way of leaving; the floor is measured before and after them."""
    async with Upstream() as upstream:
        gateway = Gateway(store, openai_config(upstream), folder)
        with relay(upstream.port) as relay_port:
            try:
                await asyncio.to_thread(gateway.start)
                return await _series(gateway, relay_port, upstream, trials=trials)
            finally:
                gateway.stop()


async def _series(gateway: Gateway, relay_port: int, upstream: Upstream, *, trials: int) -> dict[str, Any]:
    bare = post(CHAT.path, CHAT.body(MODEL, stream=True))
    rows: dict[str, Any] = {}
    floors: dict[Leaving, list[float | None]] = {way: [] for way in WAYS}
    for way in WAYS:
        floors[way] += await _trials(partial(_trial, relay_port, bare, way, upstream), trials // 2)
    for route, stream, way in product(ROUTES, (True, False), WAYS):
        asked = request(gateway, route, MODEL, stream=stream)
        trial = partial(_trial, gateway.port, asked, way, upstream, until=b"data: " if stream else b"")
        await _trials(trial, trials // 20)
        rows[f"{route.name} {'stream' if stream else 'plain'} {way}"] = figures(await _trials(trial, trials))
    busy, busy_trials = await _beside_busy_streams(gateway, upstream, trials // 2)
    asked_in_all = (trials + trials // 20) * len(rows) + busy_trials
    for way in WAYS:
        floors[way] += await _trials(partial(_trial, relay_port, bare, way, upstream), trials - trials // 2)
    found = await all_ended(gateway)
    return {
        "floor": {way: figures(spans) for way, spans in floors.items()},
        "gateway": rows,
        "busy": busy,
        "asked": asked_in_all,
        "recorded": found.get(STOPPED, 0),
        "recorded_otherwise": {name: number for name, number in found.items() if name != STOPPED},
    }


async def _beside_busy_streams(gateway: Gateway, upstream: Upstream, trials: int) -> tuple[dict[str, float], int]:
    """The same while others stream; and how many requests that were."""
    asked = request(gateway, CHAT, MODEL, stream=True)
    others = [await connect(gateway.port, asked, until=b"data: ") for _ in range(BUSY)]
    for other in others:
        await other.has_begun.wait()
    spans = await _trials(partial(_trial, gateway.port, asked, "fin", upstream, until=b"data: "), max(trials, 2))
    for other in others:
        other.leave("fin")
    return figures(spans), len(spans) + BUSY


async def _trials(trial: "partial[Any]", number: int) -> list[float | None]:
    return [await trial() for _ in range(number)]


async def _trial(
    port: int, asked: bytes, way: Leaving, upstream: Upstream, *, until: bytes = b"data: "
) -> float | None:
    """Milliseconds, or None when the upstream's connection stayed open."""
    upstream.log.clear()
    client = await connect(port, asked, until=until)
    entry = await upstream.wait_for(lambda entry: entry.words_sent > 1)
    if until:
        await client.has_begun.wait()
    await asyncio.sleep(random.random() * PAUSE)  # noqa: S311 (no secret)
    left_at = clock.now()
    client.leave(way)
    try:
        await upstream.wait_for(lambda entry: entry.hung_up, within=LOST_AFTER)
    except TimeoutError:
        return None
    assert entry.hung_up_at is not None
    return (datetime.fromisoformat(entry.hung_up_at) - left_at).total_seconds() * 1e3


def figures(spans: list[float | None]) -> dict[str, float]:
    """What is printed of a series."""
    found = sorted(span for span in spans if span is not None)
    return {
        "trials": len(spans),
        "lost": len(spans) - len(found),
        "p50_ms": round(median(found), 3),
        "p99_ms": round(quantiles(found, n=100)[98], 3),
        "max_ms": round(found[-1], 3),
    }


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    lines = ["Milliseconds from the client's close to the upstream's connection closed; floor: a bare relay", ""]
    named = {f"floor {way}": row for way, row in results["floor"].items()} | results["gateway"]
    named[f"beside {BUSY} streams"] = results["busy"]
    for name, row in named.items():
        lines.append(
            f"  {name:22} p50 {row['p50_ms']:7.3f}   p99 {row['p99_ms']:7.3f}   max {row['max_ms']:8.3f}"
            f"   {row['lost']} lost of {row['trials']}"
        )
    lines.append(f"  {results['recorded']} of {results['asked']} recorded as {STOPPED}")
    return [*lines, *(f"  and {number} {name}" for name, number in results["recorded_otherwise"].items())]
