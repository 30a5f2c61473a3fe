"""``make bench``: CPU a request and a chunk beside bare daphne, and the abort's latency. ``--quick`` is a smoke run."""

import argparse
import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.load import Measure, abort_latencies, measure
from tests.e2e.config import CONFIG
from tests.e2e.gateway import Gateway, Store

CHUNKS = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few requests only, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        results = bench(folder, scale=0.02 if options.quick else 1)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(results, indent=2) if options.json else table(results))


def bench(folder: Path, *, scale: float) -> dict[str, Any]:
    """Start both servers, measure, stop them."""
    store = Store("sqlite", folder)
    store.create()
    (folder / "floor").mkdir()
    (folder / "gateway").mkdir()
    floor = Gateway(store, {}, folder / "floor", "tests.bench.floor:application")
    gateway = Gateway(store, CONFIG, folder / "gateway")
    try:
        floor.start()
        gateway.start()
        return asyncio.run(series(floor, gateway, scale=scale))
    finally:
        floor.stop()
        gateway.stop()


async def series(floor: Gateway, gateway: Gateway, *, scale: float) -> dict[str, Any]:
    """Every figure, the floor and the gateway in turn."""
    many, few = max(20, int(3000 * scale)), max(10, int(300 * scale))
    answer = chat(gateway, "scripted/count-1", stream=False)
    chunks = chat(gateway, f"scripted/count-{CHUNKS}", stream=True)
    results: dict[str, Any] = {}
    for name, floor_request, request, count in (
        ("json", post("/json", b"{}"), answer, many),
        ("stream", post(f"/stream?{CHUNKS}", b"{}"), chunks, few),
    ):
        await measure(floor.port, floor.pid, floor_request, requests=count // 5, clients=16)
        await measure(gateway.port, gateway.pid, request, requests=count // 5, clients=16)
        below = await measure(floor.port, floor.pid, floor_request, requests=count, clients=16)
        ours = await measure(gateway.port, gateway.pid, request, requests=count, clients=16)
        results[name] = figures(below, ours, per=CHUNKS if name == "stream" else 1)
    endless = chat(gateway, "scripted/slow-10000x1ms", stream=True)
    ids = await abort_latencies(gateway.port, endless, trials=max(10, int(200 * scale)))
    rows = [gateway.store.ended(run_id) for run_id in ids]
    spans = sorted((row["settled_at"] - row["abort_requested_at"]).total_seconds() * 1e3 for row in rows)
    results["abort"] = {
        "trials": len(spans),
        "recorded": sum(row["abort_cause"] == "client_disconnect" for row in rows),
        "settled_after_ms_p50": round(spans[len(spans) // 2], 3),
        "settled_after_ms_max": round(spans[-1], 3),
    }
    return results


def figures(below: Measure, ours: Measure, *, per: int) -> dict[str, float]:
    """What is printed of a pair of series; `per` things in each request."""
    return {
        "floor_cpu_us": round(below.cpu_per_request / per, 2),
        "gateway_cpu_us": round(ours.cpu_per_request / per, 2),
        "ratio": round(ours.cpu_per_request / below.cpu_per_request, 2) if below.cpu_us else 0,
        "requests_per_second": round(ours.requests / ours.wall_us * 1e6, 1),
        "p50_ms": round(ours.p50_ms, 2),
        "p99_ms": round(ours.p99_ms, 2),
    }


def chat(gateway: Gateway, model: str, *, stream: bool) -> bytes:
    """A Chat Completions request as bytes."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    return post("/v1/chat/completions", json.dumps(body).encode(), key=gateway.key)


def post(path: str, body: bytes, *, key: str = "none") -> bytes:
    """A request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def table(results: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        "CPU microseconds of the server process, every record durable (SQLite); floor: bare daphne from memory",
        "",
    ]
    for name, unit in (("json", "request"), ("stream", "chunk")):
        found = results[name]
        lines.append(
            f"  {name:7} {found['gateway_cpu_us']:9.1f} us/{unit:8} floor {found['floor_cpu_us']:8.1f}   "
            f"ratio {found['ratio']:5.2f}   {found['requests_per_second']:8.1f} requests/s   "
            f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
        )
    abort = results["abort"]
    lines.append(
        f"  abort   {abort['recorded']} of {abort['trials']} recorded; agent settled "
        f"{abort['settled_after_ms_p50']} ms after it was told (max {abort['settled_after_ms_max']} ms)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
