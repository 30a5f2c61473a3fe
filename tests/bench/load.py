"""A load generator light enough not to be what is measured."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

TICKS = os.sysconf("SC_CLK_TCK")
_MOST_BYTES = 1024 * 1024
"""Of one reply."""


@dataclass(frozen=True)
class Measure:
    """One measured series. Times in microseconds of the server process's CPU, and of the clock."""

    requests: int
    cpu_us: float
    wall_us: float
    p50_ms: float
    p99_ms: float

    @property
    def cpu_per_request(self) -> float:
        """CPU microseconds of the server a request."""
        return self.cpu_us / self.requests


@contextmanager
def pinned() -> Iterator[tuple[str, ...]]:
    """This process and the upstream on one core, the servers on the other: what to put before their commands."""
    all_ = sorted(os.sched_getaffinity(0))
    if len(all_) < 2:
        yield ()
        return
    os.sched_setaffinity(0, all_[1:2])
    try:
        yield ("taskset", "-c", str(all_[0]))
    finally:
        os.sched_setaffinity(0, all_)


def cpu_time(pid: int) -> float:
    """User and system time of a process so far in seconds, to the nanosecond: Linux has a clock for each process.

    Of none (0) there is nothing to tell.
    """
    return time.clock_gettime((~pid << 3) | 2) if pid else 0.0


def cpu_seconds(pid: int) -> float:
    """The same in steps of the scheduler's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(port: int, pid: int, request: bytes, *, requests: int, clients: int) -> Measure:
    """Send `request` again and again on kept connections, from `clients` at a time."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    left = iter(range(requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_MOST_BYTES)
        for _ in left:
            began = loop.time()
            writer.write(request)
            await read_reply(reader)
            latencies.append(loop.time() - began)
        writer.close()
        await writer.wait_closed()

    before, began = cpu_time(pid), loop.time()
    await asyncio.gather(*(client() for _ in range(clients)))
    cpu, wall = cpu_time(pid) - before, loop.time() - began
    p99 = quantiles(latencies, n=100)[98] if len(latencies) > 1 else latencies[0]
    return Measure(len(latencies), cpu * 1e6, wall * 1e6, median(latencies) * 1e3, p99 * 1e3)


async def first_byte(port: int, request: bytes, awaited: bytes) -> float:
    """Seconds until `awaited` has come, on a connection of its own that is open already."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()
    writer.write(request)
    await reader.readuntil(awaited)
    found = loop.time() - began
    await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return found


async def read_reply(reader: asyncio.StreamReader) -> None:
    """Read one reply to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"not answered: {head!r}")
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
