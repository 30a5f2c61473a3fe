"""Thousands of aborted streams: afterwards the process holds what it held before, and each is recorded once."""

import asyncio
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.config import CONFIG, SCRIPTED
from tests.e2e.gateway import Gateway, Store, wait_for
from tests.e2e.routes import CHAT, ROUTES
from tests.e2e.wire import ask

pytestmark = pytest.mark.e2e

WARM_UP = 500
STREAMS = int(os.environ.get("GATEWAY_SOAK_STREAMS", "1000"))
"""``make soak`` takes ten thousand."""
AT_A_TIME = 50
MOST_GROWTH = 20 * 1024 * 1024
"""Bytes of memory that allocator and caches may take on the way."""
MODELS = ("slow-100000x1ms", "slow-1000x20ms", "stubborn-50ms", "finish-on-cancel", "raise-on-cancel")
FUNCTION = "gateway_project.agents.function.FunctionAgent"
AGENTS = {
    "scripted": {"BACKEND": SCRIPTED, "GRACE_SECONDS": 30},  # However busy the machine is, they stop in time.
    "census": {"BACKEND": FUNCTION, "OPTIONS": {"function": "tests.soak.census.count"}},
}


@dataclass(frozen=True)
class Level:
    """What a process holds at rest."""

    counted: dict[str, int]
    threads: int
    files: Counter[str]
    """With or without the connection on which it was asked."""
    memory: int


def level(server: Gateway) -> Level:
    """Ask the process, and the kernel about it."""
    answer = ask(server.port, "POST", CHAT.path, key=server.key, body=CHAT.body("census", stream=False))
    proc = Path(f"/proc/{server.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return Level(
        counted=json.loads(CHAT.text(answer.json)),
        threads=int(status["Threads"]),
        files=open_files(proc),
        memory=int(status["VmRSS"].split()[0]) * 1024,
    )


def open_files(proc: Path) -> Counter[str]:
    """How many of each kind, sockets among them."""
    found: Counter[str] = Counter()
    for link in (proc / "fd").iterdir():
        try:
            found[str(link.readlink()).partition("[")[0]] += 1
        except FileNotFoundError:
            continue  # Closed meanwhile.
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gateway]:
    store = Store("sqlite", tmp_path)
    store.create()
    made = Gateway(store, CONFIG | {"AGENTS": AGENTS}, tmp_path).start()
    yield made
    made.stop()


async def leave_streams(server: Gateway, number: int) -> list[str]:
    """Ask for streams, read the beginning of each, and leave. Returns the runs' ids."""
    left = iter(range(number))
    ids: list[str] = []

    async def client() -> None:
        for turn in left:
            ids.append(await leave_stream(server, turn))

    async with asyncio.timeout(60 + number / 5), asyncio.TaskGroup() as clients:
        for _ in range(AT_A_TIME):
            clients.create_task(client())
    return ids


async def leave_stream(server: Gateway, turn: int) -> str:
    """One stream; the route, the model and the way of leaving go by its number."""
    route, model = ROUTES[turn % len(ROUTES)], MODELS[turn // 2 % len(MODELS)]
    body = json.dumps(route.body(f"scripted/{model}", stream=True)).encode()
    head = (
        f"POST {route.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + body)
    reply = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    assert " 200 " in reply.split("\r\n", 1)[0], reply
    await reader.readuntil(b"data: ")
    if turn % 3:
        writer.close()
        await writer.wait_closed()
    else:
        reset = writer.get_extra_info("socket")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return reply.partition("x-request-id: ")[2].partition("\r\n")[0]


def at_rest(server: Gateway) -> list[dict[str, Any]]:
    """Wait until nothing runs, in the process and in the record, and return all runs."""

    def nothing_runs() -> bool:
        checks = ask(server.port, "GET", "/readyz", key=None).json["checks"]
        return bool(checks["supervisor"]["detail"].startswith("0 runs, 0 waiting, 0 unresponsive"))

    wait_for(nothing_runs, within=30, what="the end of every run")
    open_runs = "SELECT id FROM gateway_run WHERE status IN ('queued', 'running')"
    wait_for(lambda: not server.store.query(open_runs), within=30, what="the record of every end")
    return server.store.runs()


def test_thousands_of_aborted_streams_leave_nothing_behind(server: Gateway) -> None:
    warm_up = asyncio.run(leave_streams(server, WARM_UP))
    at_rest(server)
    before = level(server)
    left = asyncio.run(leave_streams(server, STREAMS))
    rows = {row["id"]: row for row in at_rest(server)}
    after = level(server)

    ids = [*warm_up, *left]
    assert len(set(ids)) == len(ids) == WARM_UP + STREAMS
    ours = [rows.pop(run_id) for run_id in ids]
    assert {row["agent"] for row in rows.values()} <= {"census"}, "runs of nobody"
    assert {row["abort_cause"] for row in ours} == {"client_disconnect"}
    outcomes = Counter(row["abort_outcome"] for row in ours)
    assert set(outcomes) == {"stopped", "finished_first", "errored"}, outcomes
    assert all(row["settled_at"] >= row["abort_requested_at"] for row in ours)
    assert not server.store.query("SELECT * FROM gateway_run_note"), "a second end, or a late one"

    assert after.counted == before.counted
    assert after.threads == before.threads
    # The server closes the connection on which it was asked a moment after its client did.
    proc = Path(f"/proc/{server.pid}")
    wait_for(lambda: not open_files(proc) - before.files, what=f"no more open files than {before.files}")
    growth = after.memory - before.memory
    assert growth < MOST_GROWTH, f"{growth / 2**20:.1f} MiB more after {STREAMS} streams"
    loud = {line["event"] for line in server.log_lines if line["level"] in ("ERROR", "CRITICAL")}
    assert loud <= {"run.failed"}, "only the agent that raises when it is cancelled is an error"
