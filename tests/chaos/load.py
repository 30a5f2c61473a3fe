"""Clients that ask for all kinds of answers and go away as they like. What each of them saw is kept."""

import asyncio
import json
import random
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.e2e.gateway import Gateway
from tests.e2e.routes import ROUTES, Route

MODELS = (
    *("words-5", "slow-20x20ms", "slow-500x10ms", "think-200ms", "silent", "head-then-silent", "stall-after-3"),
    *("cut-after-3", "end-after-2", "mid-error-3", "error-429", "error-500", "tool"),
)
MOST_PATIENCE = 4.0
"""Seconds after which a client that wanted to stay gives up."""


@dataclass
class Asked:
    """One request, as its client saw it."""

    id: str
    was_sent: bool = False
    status: int | None = None
    run_id: str = ""
    was_answered: bool = False
    """The whole answer came."""
    has_left: bool = False


class Clients:
    """So many clients, each with one request after the other, on connections of their own."""

    def __init__(self, gateways: Sequence[Gateway], operator_key: str, *, number: int, seed: int) -> None:
        self.asked: list[Asked] = []
        self._gateways = gateways
        self._operator_key = operator_key
        self._number = number
        self._random = random.Random(f"clients {seed}")  # noqa: S311 (no secret)
        self._seed = seed
        self._stopping = False

    def stop(self) -> None:
        """Ask no more."""
        self._stopping = True

    async def run(self) -> None:
        """Ask until stopped."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._number):
                group.create_task(self._client())

    async def _client(self) -> None:
        while not self._stopping:
            asked = Asked(f"chaos-{self._seed}-{len(self.asked)}")
            self.asked.append(asked)
            stays = self._random.random() < 0.5
            patience = MOST_PATIENCE if stays else self._random.choice([0, 0.01, 0.1, 0.5]) * self._random.random()
            with suppress(OSError, EOFError):
                await self._ask(asked, self._random.choice(self._gateways), patience)
            await asyncio.sleep(0.1 if not asked.was_sent else self._random.random() * 0.1)

    async def _ask(self, asked: Asked, gateway: Gateway, patience: float) -> None:
        """Ask once, and leave when the patience is over."""
        route, stream = self._random.choice(ROUTES), self._random.random() < 0.6
        request = _request(route, self._random.choice(MODELS), stream, asked.id, gateway.key)
        resets = self._random.random() < 0.3
        is_cancelled, canceller = self._random.random() < 0.15, self._random.choice(self._gateways)
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            writer.write(request)
            asked.was_sent = True
            async with asyncio.timeout(patience):
                head = await _read_head(reader, asked)
                if is_cancelled:
                    await self._cancel(asked, canceller)
                await _read_body(reader, head)
                asked.was_answered = True
        except TimeoutError:
            asked.has_left = True
            if resets:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _cancel(self, asked: Asked, gateway: Gateway) -> None:
        """An operator stops it, through any gateway; what the answer to that is does not matter here."""
        head = (
            f"POST /api/runs/{asked.run_id}/cancel HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {self._operator_key}\r\nContent-Length: 0\r\n\r\n"
        )
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            try:
                writer.write(head.encode())
                await reader.read()
            finally:
                writer.close()


def _request(route: Route, model: str, stream: bool, name: str, key: str) -> bytes:
    body = json.dumps(route.body(f"openai/{model}", stream=stream, prompt=name)).encode()
    head = (
        f"POST {route.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"X-Client-Request-Id: {name}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _read_head(reader: asyncio.StreamReader, asked: Asked) -> dict[str, str]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    asked.status = int(lines[0].split()[1])
    asked.run_id = headers.get("x-request-id", "")
    return headers


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
    else:
        await reader.readexactly(int(headers.get("content-length", 0)))
