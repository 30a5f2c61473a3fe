"""The journal alone: how long a commit takes, how many runs a second it writes, and a burst of ends.

``DATABASE_URL=… python -m tests.bench.writing RUNS`` prints JSON; the database must be migrated.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench.readers import memory as resident
from tests.e2e.gateway import ROOT, Store, base_env

SINGLE = 300
WRITERS = 64
"""Runs that are under way at the same time."""


async def writing(store: Store, folder: Path, *, runs: int) -> dict[str, Any]:
    """Measure in a process of its own, on both databases where both are there; here on `store`."""
    env = base_env() | {"DATABASE_URL": store.url, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    command = [sys.executable, "-m", "tests.bench.writing", str(runs)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    [row] = store.query("SELECT count(*) AS runs, count(finished_at) AS ended FROM gateway_run")
    return {"database": store.kind, "runs": row["runs"], "ended": row["ended"], **found}


async def _measure(runs: int) -> dict[str, Any]:
    from dataclasses import replace

    from gateway_project import clock, ids
    from gateway_project.runs.journal.changes import CloseRun, InsertRun
    from gateway_project.runs.journal.writer import Journal
    from gateway_project.runs.record import RunRecord
    from gateway_project.runs.vocabulary import Endpoint, RunStatus

    journal = Journal("default")

    def begun() -> RunRecord:
        at = clock.now()
        return RunRecord(
            id=ids.new_run_id(),
            status=RunStatus.RUNNING,
            endpoint=Endpoint.CHAT_COMPLETIONS,
            received_at=at,
            started_at=at,
            agent="openai",
            model="m",
            principal_kind="api_key",
            principal_id="1",
            principal_label="bench",
        )

    def over(record: RunRecord) -> RunRecord:
        at = clock.now()
        return replace(record, status=RunStatus.COMPLETED, settled_at=at, finished_at=at, delivered=True)

    async def write(record: RunRecord, change: type[InsertRun] | type[CloseRun]) -> float:
        began = time.perf_counter()
        await journal.write(change(record), within=60)
        return time.perf_counter() - began

    spans = []
    for _ in range(min(SINGLE, runs)):
        record = begun()
        spans += [await write(record, InsertRun), await write(over(record), CloseRun)]

    left = iter(range(runs))

    async def writer() -> None:
        for _ in left:
            record = begun()
            await write(record, InsertRun)
            await write(over(record), CloseRun)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    per_second = runs / (time.perf_counter() - began)

    records = [begun() for _ in range(runs)]
    await asyncio.gather(*(write(record, InsertRun) for record in records))
    before, began = resident(os.getpid()), time.perf_counter()
    most = before
    ends = asyncio.gather(*(write(over(record), CloseRun) for record in records))
    while not ends.done():
        most = max(most, resident(os.getpid()))
        await asyncio.wait([ends], timeout=0.05)
    await ends
    burst = time.perf_counter() - began
    journal.stop(60)
    return {
        "commit_p50_ms": round(median(spans) * 1e3, 2),
        "commit_p99_ms": round(quantiles(spans, n=100)[98] * 1e3, 2),
        "runs_per_second": round(per_second),
        "burst": runs,
        "burst_seconds": round(burst, 2),
        "burst_mib": round((most - before) / 1024 / 1024, 1),
    }


def table(results: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        f"The journal on {results['database']}: {results['ended']} of {results['runs']} runs have their end",
        "",
        f"  one change at a time    commit p50 {results['commit_p50_ms']} ms, p99 {results['commit_p99_ms']} ms",
        f"  {WRITERS} runs at a time      {results['runs_per_second']} runs/s, start and end durable",
        f"  {results['burst']} ends at once    written in {results['burst_seconds']} s, {results['burst_mib']} MiB",
    ]


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(asyncio.run(_measure(int(sys.argv[1])))))
