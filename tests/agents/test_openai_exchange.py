"""One connection to the upstream: what it holds while nobody reads, and its deadlines."""

import asyncio
from typing import Any

import pytest

from gateway_project.agents.openai.exchange import READ_BYTES, Exchange
from gateway_project.agents.openai.wire import WireError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


class Transport:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append((name, *arguments))

    def count(self, name: str) -> int:
        return sum(told[0] == name for told in self.told)


def come(exchange: Exchange, data: bytes) -> None:
    """Bytes come in."""
    while data:
        part, data = data[:READ_BYTES], data[READ_BYTES:]
        exchange.get_buffer(-1)[: len(part)] = part
        exchange.buffer_updated(len(part))


@pytest.fixture
async def exchange() -> Exchange:
    made = Exchange()
    made.connection_made(Transport())  # type: ignore[arg-type]
    made.deadline = asyncio.get_running_loop().time() + 5
    await made.ask(b"POST / HTTP/1.1\r\n\r\n")
    return made


async def test_reading_pauses_while_nobody_takes_what_came(exchange: Exchange) -> None:
    transport: Any = exchange.transport
    come(exchange, HEAD + b"x" * READ_BYTES)
    assert not transport.count("pause_reading")
    come(exchange, b"y")
    assert transport.count("pause_reading") == 1
    assert await exchange.read() == b"x" * READ_BYTES + b"y"
    assert transport.count("resume_reading") == 1


async def test_whoever_waits_is_woken_by_what_comes(exchange: Exchange) -> None:
    come(exchange, HEAD)
    reading = asyncio.ensure_future(exchange.read())
    await asyncio.sleep(0)
    come(exchange, b"here")
    assert await reading == b"here"


async def test_a_deadline_that_moves_on_holds_and_one_that_comes_nearer_too(exchange: Exchange) -> None:
    loop = asyncio.get_running_loop()
    come(exchange, HEAD)
    exchange.deadline = loop.time() + 0.02
    reading = asyncio.ensure_future(exchange.read())
    await asyncio.sleep(0)
    exchange.deadline = loop.time() + 1.0
    await asyncio.sleep(0.04)
    assert not reading.done()
    with pytest.raises(TimeoutError):
        await reading
    exchange.deadline = loop.time() + 60
    come(exchange, b"z")
    assert await exchange.read() == b"z"
    exchange.deadline = loop.time() + 0.01
    with pytest.raises(TimeoutError):
        await exchange.read()


async def test_a_lost_connection_is_told_to_whoever_waits(exchange: Exchange) -> None:
    come(exchange, HEAD)
    reading = asyncio.ensure_future(exchange.read())
    await asyncio.sleep(0)
    exchange.connection_lost(None)
    with pytest.raises(WireError):
        await reading
    assert not exchange.is_free


async def test_what_cannot_be_understood_closes_the_connection(exchange: Exchange) -> None:
    transport: Any = exchange.transport
    come(exchange, b"SSH-2.0\r\n\r\n")
    assert transport.count("abort") == 1
    with pytest.raises(WireError):
        await exchange.head()


async def test_a_long_request_goes_as_fast_as_it_is_taken_and_stops_when_the_answer_is_there() -> None:
    exchange = Exchange()
    transport = Transport()
    exchange.connection_made(transport)  # type: ignore[arg-type]
    exchange.deadline = asyncio.get_running_loop().time() + 5
    exchange.pause_writing()
    asking = asyncio.ensure_future(exchange.ask(b"r" * 300_000))
    await asyncio.sleep(0)
    assert transport.count("write") == 1
    exchange.resume_writing()
    exchange.pause_writing()
    come(exchange, b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n")
    await asking
    assert transport.count("write") < 5
    assert (await exchange.head()).status == 413
    assert not exchange.is_free, "the upstream still waits for the rest"


async def test_a_connection_whose_request_was_not_sent_to_its_end_is_free_for_no_other() -> None:
    exchange = Exchange()
    exchange.connection_made(Transport())  # type: ignore[arg-type]
    exchange.deadline = asyncio.get_running_loop().time() + 5
    exchange.pause_writing()
    asking = asyncio.ensure_future(exchange.ask(b"r" * 300_000))
    await asyncio.sleep(0)
    come(exchange, b"HTTP/1.1 413 Too much\r\nContent-Length: 4\r\n\r\n")
    await asking
    come(exchange, b"much")
    assert await exchange.read() == b"much"
    assert await exchange.read() == b""
    assert not exchange.is_free, "what is sent next would be taken for the rest of the request"


async def test_a_connection_that_the_upstream_is_closing_is_free_for_nobody(exchange: Exchange) -> None:
    come(exchange, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
    assert await exchange.read() == b"here"
    assert exchange.is_free
    exchange.eof_received()
    assert not exchange.is_free
