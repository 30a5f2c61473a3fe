"""CPU a request, a chunk and an event, through to an upstream, beside floors of the same run.

The server has a core of its own, where there are two; load and upstream share the other. The floors are daphne as it
is, answering from memory (`floor`), and a plain consumer with httpx (`plain`), neither of which keeps a record.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from tests.bench.clients import openai_config_at, post, request
from tests.bench.load import Measure, first_byte, measure, pinned
from tests.bench.source import source
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT

CHUNKS = 200
BURST = f"burst-{CHUNKS}x20"
STREAMS = 32
EVENTS = 100
PACED = f"paced-{EVENTS}x10ms"
SENTENCE = "The quick brown fox jumps over 13 lazy dogs, and e-mails 5 people in 2024. "
CONVERSATION = [{"role": role, "content": SENTENCE * 20} for role in ("user", "assistant") * 33]
"""A hundred kilobytes."""


class Series(NamedTuple):
    """Rounds of floor and gateway in turn, so that what else the machine does meets both."""

    clients: int
    rounds: int
    requests: int
    """Of each of both in a round."""

    def scaled(self, scale: float) -> "Series":
        """As much of it as a smoke run wants."""
        return self._replace(
            rounds=max(2, int(self.rounds * scale)), requests=max(self.clients, int(self.requests * scale))
        )


JSON = Series(clients=16, rounds=24, requests=500)
STREAM = Series(clients=16, rounds=12, requests=64)
LONG = Series(clients=16, rounds=8, requests=128)
PACE = Series(clients=STREAMS, rounds=6, requests=STREAMS)


async def costs(store: Store, folder: Path, *, scale: float) -> dict[str, Any]:
    """Start the servers, measure the floors and the gateway in turn, stop them."""
    (folder / "floor").mkdir()
    (folder / "plain").mkdir()
    with pinned() as prefix, source() as port:
        url = f"http://127.0.0.1:{port}/v1"
        floor = Gateway(store, {}, folder / "floor", "tests.bench.floor:application", command_prefix=prefix)
        plain = Gateway(store, {}, folder / "plain", "tests.bench.plain:application", command_prefix=prefix, probe=None)
        plain.environment = {"UPSTREAM": f"{url}/chat/completions", "DJANGO_SETTINGS_MODULE": "tests.settings"}
        gateway = Gateway(store, openai_config_at(url), folder, command_prefix=prefix)
        try:
            for server in (floor, plain, gateway):
                server.start()
            return await _series(floor, plain, gateway, port, scale=scale)
        finally:
            for server in (floor, plain, gateway):
                server.stop()


async def _series(floor: Gateway, plain: Gateway, gateway: Gateway, port: int, *, scale: float) -> dict[str, Any]:
    answer = request(gateway, CHAT, "one", stream=False)
    chunks = request(gateway, CHAT, BURST, stream=True)
    slow = request(gateway, CHAT, PACED, stream=True)
    talk = json.dumps(CHAT.body("one", stream=False) | {"messages": CONVERSATION}).encode()
    results: dict[str, Any] = {}
    for name, server, below, ours, series, per in (
        ("json", floor, post("/json", b"{}"), answer, JSON, 1),
        ("long", floor, post("/json", talk), post(CHAT.path, talk, key=gateway.key), LONG, 1),
        ("stream", floor, post(f"/stream?{CHUNKS}", b"{}"), chunks, STREAM, CHUNKS),
        ("paced", plain, post("/", CHAT.body(PACED, stream=True)), slow, PACE, EVENTS),
    ):
        clients, rounds, requests = series.scaled(scale)
        pairs = []
        for _ in range(rounds + 1):
            low = await measure(server.port, server.pid, below, requests=requests, clients=clients)
            high = await measure(gateway.port, gateway.pid, ours, requests=requests, clients=clients)
            pairs.append((low, high))
        results[name] = figures(pairs[1:], per=per)  # The first round warms both up.
    return results | {"first_chunk": await _first_chunk(gateway, port, max(5, int(200 * scale)))}


async def _first_chunk(gateway: Gateway, port: int, number: int) -> dict[str, float]:
    """Milliseconds to the first chunk, one stream at a time: of the upstream itself, and through the gateway."""
    bare = post("/v1/chat/completions", CHAT.body("paced-2x1ms", stream=True))
    ours = request(gateway, CHAT, "paced-2x1ms", stream=True)
    spans: tuple[list[float], list[float]] = ([], [])
    for _ in range(number):
        for found, at, asked in zip(spans, (port, gateway.port), (bare, ours), strict=True):
            found.append(await first_byte(at, asked, b" alpha"))
    own, through = (median(found) * 1e3 for found in spans)
    return {"upstream_p50_ms": round(own, 3), "gateway_p50_ms": round(through, 3), "added_ms": round(through - own, 3)}


def figures(pairs: Sequence[tuple[Measure, Measure]], *, per: int) -> dict[str, float]:
    """What is printed of rounds of floor and gateway; `per` things in each request.

    The ratio is the median of the rounds': both sides of one meet the same neighbours. The least CPU of each side would
    favour the floor, whose rounds are shorter, and so more often undisturbed.
    """
    below, above = zip(*pairs, strict=True)
    ratios = [high.cpu_per_request / low.cpu_per_request if low.cpu_us else 0.0 for low, high in pairs]
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
    return {
        "floor_cpu_us": round(median(one.cpu_per_request for one in below) / per, 2),
        "gateway_cpu_us": round(median(one.cpu_per_request for one in above) / per, 2),
        "ratio": round(middle, 2),
        "ratio_lower_quartile": round(lower, 2),
        "ratio_upper_quartile": round(upper, 2),
        "requests_per_second": round(sum(one.requests for one in above) / sum(one.wall_us for one in above) * 1e6, 1),
        "p50_ms": round(median(one.p50_ms for one in above), 2),
        "p99_ms": round(max(one.p99_ms for one in above), 2),
    }


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    lines = [
        "CPU microseconds of the server process, through to an upstream, every record durable",
        "floors: bare daphne from memory; for paced a plain consumer with httpx. long: a conversation of 100 KB",
        "",
    ]
    for name, unit in (("json", "request"), ("long", "request"), ("stream", "chunk"), ("paced", "event")):
        found = results[name]
        spread = f"({found['ratio_lower_quartile']:.2f} to {found['ratio_upper_quartile']:.2f})"
        lines.append(
            f"  {name:7} {found['gateway_cpu_us']:9.1f} us/{unit:8} floor {found['floor_cpu_us']:8.1f}   "
            f"ratio {found['ratio']:5.2f} {spread}   {found['requests_per_second']:8.1f} requests/s   "
            f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
        )
    first = results["first_chunk"]
    own, through = first["upstream_p50_ms"], first["gateway_p50_ms"]
    return [*lines, f"  first chunk, idle: p50 {through:.2f} ms, the upstream's own {own:.2f} ms"]
