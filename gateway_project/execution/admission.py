"""Who may run now, who waits, who is refused."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gateway_project import clock


class QueueFull(Exception):
    """No place to run and none to wait. `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many runs are waiting")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `runs` at a time share the name `scope` (the process, an agent, a key)."""

    scope: str
    runs: int


@dataclass(slots=True, eq=False)
class Ticket:
    """A run's place: first in the queue, unless there is room at once, then among those that run."""

    limits: tuple[Limit, ...]
    state: Literal["waiting", "held", "left"] = "waiting"
    granted: asyncio.Event | None = None
    """Of one that had to wait."""

    async def wait(self) -> None:
        """Wait until the place is held."""
        if self.granted is not None:
            await self.granted.wait()


class Admission:
    """Grants places first come, first served; one whose agent is busy does not hold up another's."""

    def __init__(self, *, queue: int, retry_after: float) -> None:
        self._queue_length = queue
        self._retry_after = retry_after
        self._used: Counter[str] = Counter()
        self._waiting: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many runs wait."""
        return len(self._waiting)

    def check(self, limits: Iterable[Limit]) -> None:
        """Take no place, only see whether there is one. Raises QueueFull."""
        ticket = Ticket(tuple(limits))
        at_once = self._has_room(ticket) and not self._has_forerunner(ticket)
        if not at_once and len(self._waiting) >= self._queue_length:
            raise QueueFull(self._retry_after)

    def enter(self, limits: Iterable[Limit]) -> Ticket:
        """Take a place, or one in the queue.

        Raises:
            QueueFull: when there is neither.
        """
        ticket = Ticket(tuple(limits))
        if self._has_room(ticket) and not self._has_forerunner(ticket):
            self._grant(ticket)
        elif len(self._waiting) >= self._queue_length:
            raise QueueFull(self._retry_after)
        else:
            ticket.granted = asyncio.Event()
            self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back, whether it was granted or not. Safe to call twice."""
        if ticket.state == "waiting":
            self._waiting.remove(ticket)
        elif ticket.state == "held":
            for limit in ticket.limits:
                self._used[limit.scope] -= 1
                if not self._used[limit.scope]:
                    del self._used[limit.scope]  # There is no end of keys that once had a run.
        ticket.state = "left"
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        for ticket in tuple(self._waiting):
            if self._has_room(ticket):
                self._waiting.remove(ticket)
                self._grant(ticket)

    def _has_room(self, ticket: Ticket) -> bool:
        return all(self._used[limit.scope] < limit.runs for limit in ticket.limits)

    def _has_forerunner(self, ticket: Ticket) -> bool:
        """Somebody waits for the very same places."""
        return any(waiting.limits == ticket.limits for waiting in self._waiting)

    def _grant(self, ticket: Ticket) -> None:
        for limit in ticket.limits:
            self._used[limit.scope] += 1
        ticket.state = "held"
        if ticket.granted is not None:
            ticket.granted.set()


class Budget:
    """At most so many things a minute for each key, so that refusals cannot fill a table."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = 0
        self._spent: Counter[str] = Counter()

    def spend(self, key: str) -> bool:
        """Take one from `key`'s budget; False when it is used up."""
        minute = int(clock.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._spent.clear()
        self._spent[key] += 1
        return self._spent[key] <= self._per_minute
