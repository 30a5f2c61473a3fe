"""What breaks: gateways are killed, ended and paused, the database and the channel layer go away and come back."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.servers import Postgres, Redis, Server
from tests.e2e.gateway import Gateway, Store

LEASE_SECONDS = 1.5
FAULTS = 7
"""Of a round."""


class Site:
    """Two gateways on one database, one channel layer and one spill folder, as they would stand on one host."""

    def __init__(
        self, store: Store, settings: dict[str, Any], folder: Path, *, postgres: Postgres, redis: Redis
    ) -> None:
        self.store = store
        self.postgres = postgres
        self.redis = redis
        environment = {"REDIS_URL": redis.url}
        self.gateways = [Gateway(store, settings, folder, environment=environment) for _ in range(2)]
        self._folder = folder
        self._starts = 0

    def start(self, gateway: Gateway) -> None:
        """Start a gateway, with a log of its own for each start. Blocking."""
        self._starts += 1
        gateway.folder = self._folder / f"start-{self._starts}"
        gateway.folder.mkdir()
        gateway.start()

    def stop(self) -> None:
        """End everything."""
        for gateway in self.gateways:
            gateway.stop()

    @property
    def logs(self) -> dict[str, str]:
        """What each start of a gateway printed."""
        return {path.parent.name: path.read_text(errors="replace") for path in self._folder.glob("start-*/server.log")}


class Faults:
    """Breaks one thing after the other, sometimes two at a time, and mends it again."""

    def __init__(self, site: Site, *, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.rounds = 0
        self._site = site
        self._random = random.Random(f"faults {seed}")  # noqa: S311 (no secret)
        self._busy: set[int] = set()
        self._database = asyncio.Lock()
        self._layer = asyncio.Lock()

    async def run(self, seconds: float) -> None:
        """Go on for so long, and at least until each fault was there once; everything is whole again at the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        faults = self._endless()
        while loop.time() < until or self.rounds < 1:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._random.choice([1, 2, 2])):
                    group.create_task(next(faults)())
            await asyncio.sleep(self._random.random())

    def _endless(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """Every fault once in each round, in an order of the round's own."""
        faults = [
            self._kill,
            self._end,
            self._pause,
            self._pause_long,
            self._cut,
            self._lose_database,
            self._lose_layer,
        ]
        assert len(faults) == FAULTS
        while True:
            self._random.shuffle(faults)
            yield from faults
            self.rounds += 1

    async def _kill(self) -> None:
        """SIGKILL, and a new start, at once or after a while."""
        if (index := self._take()) is None:
            return
        gateway = self._site.gateways[index]
        gateway.stop()
        self.done["killed"] += 1
        await asyncio.sleep(self._random.choice([0, 0, 2 * LEASE_SECONDS]))
        await asyncio.to_thread(self._site.start, gateway)
        self._busy.discard(index)

    async def _end(self) -> None:
        """SIGTERM, and a new start."""
        if (index := self._take()) is None:
            return
        gateway = self._site.gateways[index]
        await asyncio.to_thread(gateway.terminate)
        self.done["ended"] += 1
        await asyncio.to_thread(self._site.start, gateway)
        self._busy.discard(index)

    async def _pause(self) -> None:
        """SIGSTOP for less than the lease."""
        await self._stop_and_go(0.4, "paused")

    async def _pause_long(self) -> None:
        """SIGSTOP until the others have taken it for dead."""
        await self._stop_and_go(2.5 * LEASE_SECONDS, "paused beyond the lease")

    async def _stop_and_go(self, seconds: float, name: str) -> None:
        if (index := self._take()) is None:
            return
        process = self._site.gateways[index].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        self.done[name] += 1
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        self._busy.discard(index)

    async def _cut(self) -> None:
        """The database refuses everybody, for a moment or longer than a lease."""
        async with self._database:
            await asyncio.to_thread(self._site.store.cut)
            self.done["database cut"] += 1
            await asyncio.sleep(self._random.choice([0.2, 1, 2 * LEASE_SECONDS]))
            await asyncio.to_thread(self._site.store.restore)

    async def _lose_database(self) -> None:
        """PostgreSQL is shut down or crashes, and starts again."""
        async with self._database:
            await self._restart(self._site.postgres, "PostgreSQL")

    async def _lose_layer(self) -> None:
        """Redis likewise."""
        async with self._layer:
            await self._restart(self._site.redis, "Redis")

    async def _restart(self, server: Server, name: str) -> None:
        crashes = self._random.random() < 0.5
        await asyncio.to_thread(server.end, server.CRASH if crashes else server.SHUTDOWN)
        self.done[f"{name} crashed" if crashes else f"{name} restarted"] += 1
        await asyncio.sleep(self._random.choice([0, 1, 2 * LEASE_SECONDS]))
        await asyncio.to_thread(server.start)

    def _take(self) -> int | None:
        """A gateway that no other fault is at."""
        free = [index for index in range(len(self._site.gateways)) if index not in self._busy]
        if not free:
            return None
        index = self._random.choice(free)
        self._busy.add(index)
        return index
