"""A load generator light enough not to be what is measured."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

TICKS = os.sysconf("SC_CLK_TCK")


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


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(port: int, pid: int, request: bytes, *, requests: int, clients: int) -> Measure:
    """Send `request` again and again on kept connections, from `clients` at a time."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    left = iter(range(requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = loop.time()
            writer.write(request)
            await read_reply(reader)
            latencies.append(loop.time() - began)
        writer.close()
        await writer.wait_closed()

    before, began = cpu_seconds(pid), loop.time()
    await asyncio.gather(*(client() for _ in range(clients)))
    cpu, wall = cpu_seconds(pid) - before, loop.time() - began
    p99 = quantiles(latencies, n=100)[98] if len(latencies) > 1 else latencies[0]
    return Measure(len(latencies), cpu * 1e6, wall * 1e6, median(latencies) * 1e3, p99 * 1e3)


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


async def abort_latencies(port: int, request: bytes, *, trials: int) -> list[str]:
    """Ask, wait for the first bytes, and leave. Returns the runs' ids."""
    ids = []
    for _ in range(trials):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readuntil(b"data: ")
        ids.append(head.partition("x-request-id: ")[2].partition("\r\n")[0])
        writer.close()
        await writer.wait_closed()
    return ids
