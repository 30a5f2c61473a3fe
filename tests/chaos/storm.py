"""One storm from start to end: set up, load and faults, calm, books."""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.chaos.books import Books, balance, watch
from tests.chaos.faults import LEASE_SECONDS, Faults, Site
from tests.chaos.load import Clients
from tests.chaos.servers import Postgres, Redis
from tests.e2e.gateway import Store, base_env, manage
from tests.upstream import UpstreamProcess

CLIENTS = 16
CALM_SECONDS = 60 + 4 * LEASE_SECONDS + 15
"""How long all may take to settle when everything is whole again: a worker that died before it could register is
given a minute."""


def settings(upstream: UpstreamProcess, folder: Path, seed: int) -> dict[str, Any]:
    """What both gateways are configured with."""
    options = {"base_url": upstream.base_url, "api_key": "upstream-secret"}
    return {
        "AGENTS": {"openai": {"BACKEND": "gateway_project.agents.openai.OpenAIAgent", "OPTIONS": options}},
        "LIMITS": {"CONCURRENT_RUNS": 6, "QUEUED_RUNS": 4, "QUEUE_SECONDS": 1, "REJECTED_ROWS_PER_MINUTE": 100_000},
        "GRACE_SECONDS": 1,
        "DRAIN_SECONDS": 1,
        "LEASE_SECONDS": LEASE_SECONDS,
        "JOURNAL_SECONDS": 2,
        "SPILL_DIR": str(folder / "spill"),
        "ACCEPT_WITHOUT_DATABASE": seed % 2 == 1,
    }


def storm(folder: Path, *, seconds: float, seed: int) -> Books:
    """Let it rage for so long, then wait until nothing moves, and balance the books."""
    with ExitStack() as stack:
        postgres, redis = Postgres(), Redis()
        for server in (postgres, redis):
            stack.callback(server.remove)
            server.start()
        upstream = stack.enter_context(UpstreamProcess())
        store = Store("postgres", folder, server=postgres.url)
        store.create()
        stack.callback(store.close)
        watch(store)
        site = Site(store, settings(upstream, folder, seed), folder, postgres=postgres, redis=redis)
        stack.callback(site.stop)
        for gateway in site.gateways:
            site.start(gateway)
        clients, faults = (
            Clients(site.gateways, operator_key(store), number=CLIENTS, seed=seed),
            Faults(site, seed=seed),
        )
        asyncio.run(_rage(clients, faults, seconds))
        _wait_for_calm(site, upstream)
        return balance(store, upstream.log(), clients.asked, faults.done, site.logs)


def operator_key(store: Store) -> str:
    """A key of somebody who cancels other people's runs."""
    env = base_env() | {"DATABASE_URL": store.url}
    return manage("createkey", "operator", "--operate", env=env).splitlines()[-1]


async def _rage(clients: Clients, faults: Faults, seconds: float) -> None:
    asking = asyncio.get_running_loop().create_task(clients.run(), name="clients")
    try:
        await faults.run(seconds)
    finally:
        clients.stop()
        await asking


def _wait_for_calm(site: Site, upstream: UpstreamProcess) -> None:
    """Until every run has its end and every upstream connection is over, or the time is."""
    until = time.monotonic() + CALM_SECONDS
    open_runs = "SELECT id FROM gateway_run WHERE status IN ('queued', 'running')"
    time.sleep(2 * LEASE_SECONDS)  # What was just killed may still be written down by others.
    while time.monotonic() < until:
        waits = any(entry.finished_at is None and not entry.hung_up for entry in upstream.log())
        if not waits and not site.store.query(open_runs):
            return
        time.sleep(0.2)
