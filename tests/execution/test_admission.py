"""Who runs, who waits, who is refused."""

import asyncio

import pytest

from gateway_project import clock
from gateway_project.execution.admission import Admission, Budget, Limit, QueueFull, Ticket

PROCESS = Limit("process", 3)
NARROW = Limit("agent:narrow", 1)


def admission(queue: int = 2) -> Admission:
    return Admission(queue=queue, retry_after=15)


def states(*tickets: Ticket) -> list[str]:
    return [ticket.state for ticket in tickets]


async def test_first_come_first_served() -> None:
    places = admission()
    first, second, third = (places.enter([PROCESS, NARROW]) for _ in range(3))
    assert states(first, second, third) == ["held", "waiting", "waiting"]
    places.leave(first)
    assert states(first, second, third) == ["left", "held", "waiting"]
    async with asyncio.timeout(30):
        await second.wait()


async def test_a_busy_agent_does_not_hold_up_another() -> None:
    places = admission()
    places.enter([PROCESS, NARROW])
    waiting = places.enter([PROCESS, NARROW])
    assert states(waiting, places.enter([PROCESS])) == ["waiting", "held"]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    places = admission(queue=1)
    places.enter([NARROW])
    places.enter([NARROW])
    with pytest.raises(QueueFull) as refused:
        places.enter([NARROW])
    assert refused.value.retry_after == 15


async def test_leaving_the_queue_frees_its_place_there() -> None:
    places = admission(queue=1)
    holder = places.enter([NARROW])
    waiting = places.enter([NARROW])
    places.leave(waiting)
    places.leave(waiting)
    assert places.waiting == 0
    next_one = places.enter([NARROW])
    places.leave(holder)
    places.leave(holder)
    assert states(waiting, next_one) == ["left", "held"]
    assert places.enter([NARROW]).state == "waiting", "one place must not be given back twice"


async def test_nothing_is_remembered_of_those_who_have_left() -> None:
    places = admission()
    for key in range(3):
        places.leave(places.enter([PROCESS, Limit(f"key:{key}", 1)]))
    assert not places._used


def test_a_budget_is_a_keys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)  # else a minute might end in between
    budget = Budget(per_minute=2)
    assert [budget.spend("a") for _ in range(3)] == [True, True, False]
    assert budget.spend("b")
