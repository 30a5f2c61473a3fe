"""Requests and chunks a second of other gateways and of this one, before the same upstream, on one core each.

``make bench-peers`` installs LiteLLM (its proxy, without a database: it keeps no record) and Portkey's gateway (Node,
which keeps none at all), and says where they are in the environment: ``PEERS_PYTHON`` and ``PEERS_NODE_MODULES``.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.clients import openai_config_at, post
from tests.bench.costs import BURST, CHUNKS
from tests.bench.load import measure, pinned, read_reply
from tests.bench.source import source
from tests.e2e.gateway import Gateway, Store
from tests.e2e.routes import CHAT

CLIENTS = (1, 16, 64)
_READY_SECONDS = 300
_OURS = "this gateway"
_SECONDS = 5.0


@dataclass(frozen=True)
class Peer:
    """A server that runs: where, which process, and what its requests say besides."""

    name: str
    port: int
    pid: int
    key: str = "none"
    headers: dict[str, str] | None = None

    def request(self, model: str, *, stream: bool) -> bytes:
        """A request for agent work as bytes."""
        return post(CHAT.path, CHAT.body(model, stream=stream), key=self.key, headers=self.headers)


async def peers(store: Store, folder: Path, *, scale: float) -> dict[str, Any]:
    """Load one server after the other, each with the machine to itself but for load and upstream."""
    results: dict[str, Any] = {}
    with pinned() as prefix, source() as port:
        url = f"http://127.0.0.1:{port}/v1"
        gateway = Gateway(store, openai_config_at(url), folder, command_prefix=prefix)
        try:
            gateway.start()
            results[_OURS] = await _series(Peer(_OURS, gateway.port, gateway.pid, gateway.key), scale=scale)
        finally:
            gateway.stop()
        for run in (_portkey, _litellm):
            with run(url, folder, prefix) as peer:
                if peer is not None:
                    await _answers(peer)
                    results[peer.name] = await _series(peer, scale=scale)
    return results


async def _series(peer: Peer, *, scale: float) -> dict[str, Any]:
    found: dict[str, Any] = {"json": {}, "stream": {}}
    for kind, model in (("json", "one"), ("stream", BURST)):
        asked = peer.request(model, stream=kind == "stream")
        for clients in CLIENTS:
            # How many are enough is found out first: they differ by a factor of fifty.
            trial = await measure(peer.port, peer.pid, asked, requests=2 * clients, clients=clients)
            rate = trial.requests / trial.wall_us * 1e6
            series = await measure(
                peer.port, peer.pid, asked, requests=max(2 * clients, int(rate * _SECONDS * scale)), clients=clients
            )
            per_second = series.requests / series.wall_us * 1e6
            found[kind][str(clients)] = {
                "per_second": round(per_second * (CHUNKS if kind == "stream" else 1), 1),
                "cpu_us": round(series.cpu_per_request / (CHUNKS if kind == "stream" else 1), 1),
                "p50_ms": round(series.p50_ms, 2),
                "p99_ms": round(series.p99_ms, 2),
            }
    return found


async def _answers(peer: Peer) -> None:
    """Wait until it does."""
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            writer.write(peer.request("one", stream=False))
            await read_reply(reader)
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.5)
        else:
            writer.close()
            return


@contextmanager
def _process(command: list[str], folder: Path, name: str, env: dict[str, str]) -> Iterator[int]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _portkey(upstream: str, folder: Path, prefix: tuple[str, ...]) -> Iterator[Peer | None]:
    start = Path(os.environ.get("PEERS_NODE_MODULES", "")).absolute() / "@portkey-ai/gateway/build/start-server.js"
    node = shutil.which("node")
    if node is None or not start.is_file():
        yield None
        return
    port = _free_port()
    command = [*prefix, node, str(start), f"--port={port}", "--headless"]
    with _process(command, folder, "portkey", {"NODE_ENV": "production"}) as pid:
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": upstream}
        yield Peer("portkey", port, pid, headers=headers)


@contextmanager
def _litellm(upstream: str, folder: Path, prefix: tuple[str, ...]) -> Iterator[Peer | None]:
    python = Path(os.environ.get("PEERS_PYTHON", "none")).absolute()
    if not python.is_file():
        yield None
        return
    port, config = _free_port(), folder / "litellm.json"
    models = [
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": upstream, "api_key": "none"}}
        for model in ("one", BURST)
    ]
    config.write_text(json.dumps({"model_list": models}))  # which is YAML too
    program = str(python.with_name("litellm"))
    command = [*prefix, program, "--config", str(config), "--port", str(port), "--num_workers", "1", "--telemetry", "0"]
    env = {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",  # Else it takes the same words again and again for a fault.
    }
    with _process(command, folder, "litellm", env) as pid:
        yield Peer("litellm", port, pid)


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    lines = ["Before the same upstream, one core each; ratios: this gateway's figure to theirs", ""]
    for kind, unit in (("json", "requests/s"), ("stream", "chunks/s")):
        for name, found in results.items():
            for clients, row in found[kind].items():
                ratio = results[_OURS][kind][clients]["per_second"] / row["per_second"]
                lines.append(
                    f"  {kind:6} {clients:>3} clients  {name:13} {row['per_second']:9.1f} {unit:10}  "
                    f"{row['cpu_us']:9.1f} us of CPU   p50 {row['p50_ms']:8.2f} ms, p99 {row['p99_ms']:8.2f} ms   "
                    f"{ratio:5.2f} x"
                )
    missing = {"portkey", "litellm"} - results.keys()
    return lines + [f"  NOT COMPARED: {name} is not installed (make bench-peers)" for name in sorted(missing)]
