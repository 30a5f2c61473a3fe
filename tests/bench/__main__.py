"""``make bench``: what is measured, all of it or what is named. ``--quick`` is a smoke run."""

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.bench import abort, costs, crowd, memory, peers, processes, readers, start, throughput, writing
from tests.e2e.gateway import Store

Measured = Callable[[Store, Path, bool], Awaitable[dict[str, Any]]]

BENCHES: dict[str, tuple[Measured, Callable[[dict[str, Any]], list[str]]]] = {
    "costs": (lambda store, folder, quick: costs.costs(store, folder, scale=0.02 if quick else 1), costs.table),
    "abort": (lambda store, folder, quick: abort.abort(store, folder, trials=5 if quick else 1000), abort.table),
    "crowd": (lambda store, folder, quick: crowd.crowd(store, folder, streams=100 if quick else 5000), crowd.table),
    "readers": (
        lambda store, folder, quick: readers.readers(
            store, folder, number=2 if quick else 100, window=65536 if quick else None
        ),
        readers.table,
    ),
    "throughput": (
        lambda store, folder, quick: throughput.throughput(store, folder, scale=0.02 if quick else 1),
        throughput.table,
    ),
    "memory": (
        lambda store, folder, quick: memory.memory(
            store, folder, steps=(0, 20, 50) if quick else (0, 1000, 5000), requests=20 if quick else 1000
        ),
        memory.table,
    ),
    "writing": (
        lambda store, folder, quick: writing.writing(store, folder, runs=200 if quick else 10_000),
        writing.table,
    ),
    "processes": (
        lambda store, folder, quick: processes.processes(
            store, folder, numbers=(1, 2) if quick else (1, 2, 4), scale=0.02 if quick else 1
        ),
        processes.table,
    ),
    "peers": (lambda store, folder, quick: peers.peers(store, folder, scale=0.01 if quick else 1), peers.table),
    "start": (lambda store, folder, quick: start.start(store, folder, times=1 if quick else 5), start.table),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", metavar="|".join(BENCHES), help="what to measure; by default all")
    parser.add_argument("--quick", action="store_true", help="a few requests only, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="of the records")
    options = parser.parse_args()
    if unknown := set(options.which) - set(BENCHES):
        parser.error(f"there is no {', '.join(unknown)}; choose of {', '.join(BENCHES)}")
    results: dict[str, dict[str, Any]] = {}
    for name in options.which or BENCHES:
        results[name] = run(name, Store(options.database, Path()), quick=options.quick)
        if not options.json:
            print("\n".join(BENCHES[name][1](results[name])), end="\n\n", flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


def run(name: str, store: Store, *, quick: bool) -> dict[str, Any]:
    """One of them, with an empty `store` in a folder of its own."""
    folder = store.folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        store.create()
        return asyncio.run(_measure(name, store, quick=quick))
    finally:
        store.drop()
        shutil.rmtree(folder)


async def _measure(name: str, store: Store, *, quick: bool) -> dict[str, Any]:
    return await BENCHES[name][0](store, store.folder, quick)


if __name__ == "__main__":
    main()
