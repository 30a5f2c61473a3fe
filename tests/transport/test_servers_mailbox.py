"""What the server tells an application: in order, to readers who may be cancelled at any time."""

import asyncio

import pytest

from gateway_project.transport.servers.mailbox import Mailbox


async def test_messages_come_in_order() -> None:
    box = Mailbox()
    for number in range(3):
        box.put_nowait({"type": str(number)})
    assert [(await box.get())["type"] for _ in range(3)] == ["0", "1", "2"]


async def test_a_reader_waits_for_the_next_one() -> None:
    box = Mailbox()
    waiting = asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    box.put_nowait({"type": "a"})
    box.put_nowait({"type": "b"})
    assert (await waiting)["type"] == "a"
    assert (await box.get())["type"] == "b"


async def test_a_reader_that_is_cancelled_leaves_the_message_to_the_next() -> None:
    box = Mailbox()
    first = asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    box.put_nowait({"type": "a"})
    first.cancel()
    assert (await box.get())["type"] == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_one_that_is_on_its_way_out_does_not_take_the_next_ones_place() -> None:
    box = Mailbox()
    first = asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(box.get())
    await asyncio.sleep(0.01)
    box.put_nowait({"type": "a"})
    assert (await asyncio.wait_for(second, 30))["type"] == "a"


async def test_several_readers_get_one_each() -> None:
    box = Mailbox()
    readers = [asyncio.ensure_future(box.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        box.put_nowait({"type": str(number)})
    assert [message["type"] for message in await asyncio.gather(*readers)] == ["0", "1", "2"]


async def test_the_turn_of_one_that_is_cancelled_is_the_next_ones() -> None:
    box = Mailbox()
    first, second = asyncio.ensure_future(box.get()), asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    box.put_nowait({"type": "a"})
    first.cancel()
    assert (await asyncio.wait_for(second, 30))["type"] == "a"


def test_one_without_messages_is_there_all_the_same() -> None:
    """daphne tells an application that its client has left only if ``if application_queue`` says that there is one."""
    assert bool(Mailbox()) is True
