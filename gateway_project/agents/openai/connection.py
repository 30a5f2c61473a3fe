"""HTTP to the upstream: pooled connections, three deadlines, and a close that is felt at once."""

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache, partial
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary

from gateway_project.agents.errors import UpstreamError, UpstreamTimeout
from gateway_project.agents.openai.exchange import Exchange
from gateway_project.agents.openai.options import OpenAIOptions
from gateway_project.agents.openai.stream import cut_off
from gateway_project.agents.openai.wire import Head, WireError
from gateway_project.agents.tasks import detached

_IDLE_SECONDS = 4
"""How long an unused connection is kept: less than uvicorn's 5 s, so that no request meets a closing one."""
_ADDRESS_SECONDS = 60
_NEXT_ADDRESS_SECONDS = 2
"""How long an address is tried that is not the last one."""
_DRAIN_SECONDS = 0.25
_DRAIN_BYTES = 64 * 1024
_NO_ANSWER = "The upstream did not answer in time."
_TOO_FAR = "The upstream could not be reached in time."


class Reply:
    """The upstream's answer to one request, read in pieces.

    Raises of all its readers:
        UpstreamTimeout: when it is silent for too long.
        UpstreamError: when the connection is lost.
    """

    def __init__(self, head: Head, exchange: Exchange, *, silence_seconds: float) -> None:
        self.status = head.status
        self.headers = head.headers
        """Names in lower case."""
        self.content_type = head.content_type
        self._exchange = exchange
        self._silence_seconds = silence_seconds
        self._begun = False

    async def read(self) -> bytes:
        """What has come since the last read, or, if nothing has, the next bytes; empty at the end."""
        if self._begun:
            self._exchange.deadline = asyncio.get_running_loop().time() + self._silence_seconds
        try:
            data = await self._exchange.read()
        except TimeoutError:
            raise UpstreamTimeout("The upstream fell silent." if self._begun else _NO_ANSWER) from None
        except (WireError, OSError):
            raise cut_off() from None
        self._begun = True
        return data

    async def read_whole(self, limit: int) -> tuple[bytes, bool]:
        """The body up to `limit` bytes, and whether that is all of it."""
        body = bytearray()
        while data := await self.read():
            body += data
            if len(body) > limit:
                return bytes(body[:limit]), False
        return bytes(body), True

    async def drain(self) -> None:
        """Read the little that may follow the last event, so that the connection can be used again."""
        left = _DRAIN_BYTES
        self._silence_seconds = min(self._silence_seconds, _DRAIN_SECONDS)
        until = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        with suppress(UpstreamError):
            while left > 0 and asyncio.get_running_loop().time() < until and (data := await self.read()):
                left -= len(data)


class Connections:
    """The pool of connections to one upstream, for each event loop its own."""

    def __init__(self, options: OpenAIOptions) -> None:
        self._options = options
        self._head = _request_head(options)
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()

    def post(self, body: bytes) -> "Posted":
        """Send a request; inside is its answer. On the way out a connection that was not read to its end is closed.

        Raises:
            UpstreamTimeout: when connecting, or the first byte, takes too long.
            UpstreamError: when the upstream cannot be reached, or closes without an answer.
        """
        return Posted(self._pool(), self._options, b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body))

    async def close(self) -> None:
        """Close the pool of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            pool.close()

    def _pool(self) -> "_Pool":
        """The running loop's pool, made at its first request."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = _Pool(self._options, loop)
        return pool


class Posted(AbstractAsyncContextManager[Reply]):
    """A request that is sent on the way in."""

    def __init__(self, pool: "_Pool", options: OpenAIOptions, request: bytes) -> None:
        self._pool = pool
        self._options = options
        self._request = request
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> Reply:
        first_byte_at = asyncio.get_running_loop().time() + self._options.first_byte_timeout
        exchange = self._exchange = await self._pool.take(first_byte_at)
        try:
            exchange.deadline = first_byte_at
            head = await self._asked(exchange)
        except BaseException:
            self._pool.give_back(exchange)
            raise
        return Reply(head, exchange, silence_seconds=self._options.silence_timeout)

    async def __aexit__(self, *failure: object) -> None:
        assert self._exchange is not None
        self._pool.give_back(self._exchange)

    async def _asked(self, exchange: Exchange) -> Head:
        try:
            await exchange.ask(self._request)
            return await exchange.head()
        except TimeoutError:
            raise UpstreamTimeout(_NO_ANSWER) from None
        except OSError:
            raise UpstreamError("The upstream closed the connection without an answer.") from None
        except WireError:
            raise UpstreamError("The upstream's answer is not understood.", code="upstream_protocol_error") from None


class _Pool:
    """The connections of one loop."""

    def __init__(self, options: OpenAIOptions, loop: asyncio.AbstractEventLoop) -> None:
        parts = urlsplit(options.base_url)
        self._places = asyncio.Semaphore(options.max_connections)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._connect_seconds = options.connect_timeout
        self._loop = loop
        self._free: list[tuple[Exchange, float]] = []
        self._addresses: tuple[list[str], float] = ([], 0.0)
        self._looking_up = asyncio.Lock()
        # Of our own: a resolver that does not answer must not hold up everybody's threads.
        self._lookups = ThreadPoolExecutor(1, thread_name_prefix="gateway-openai-lookup")
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(self, first_byte_at: float) -> Exchange:
        """A connection: the one that was used last, else a new one, once there is room for it."""
        until = min(first_byte_at, self._loop.time() + self._connect_seconds)
        try:
            if self._places.locked():
                async with asyncio.timeout_at(until):
                    await self._places.acquire()
            else:
                await self._places.acquire()
        except TimeoutError:
            raise UpstreamTimeout(_TOO_FAR) from None
        try:
            return self._unused() or await self._new(until)
        except BaseException:
            self._places.release()
            raise

    def _unused(self) -> Exchange | None:
        while self._free:
            exchange, unused_since = self._free.pop()
            if exchange.is_free and self._loop.time() - unused_since < _IDLE_SECONDS:
                return exchange
            exchange.abort()
        return None

    async def _new(self, until: float) -> Exchange:
        try:
            async with asyncio.timeout_at(until):
                # What serves all runs is no part of this one.
                with detached():
                    return await self._connect()
        except TimeoutError:
            raise UpstreamTimeout(_TOO_FAR) from None
        except OSError:  # of TLS too
            raise UpstreamError("The upstream could not be reached.", code="upstream_unreachable") from None

    def give_back(self, exchange: Exchange) -> None:
        """Keep a connection on which another exchange may begin, and close any other at once."""
        self._places.release()
        if self._is_closed or not exchange.is_free:
            exchange.abort()
            return
        self._free.append((exchange, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(_IDLE_SECONDS, self._close_unused)

    def close(self) -> None:
        """Close what is not in use; what is will be closed when it is given back."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for exchange, _ in self._free:
            exchange.abort()
        self._free.clear()

    def _close_unused(self) -> None:
        self._sweep = None
        before = self._loop.time() - _IDLE_SECONDS
        kept = [(exchange, since) for exchange, since in self._free if since > before]
        for exchange, _ in self._free[: len(self._free) - len(kept)]:
            exchange.abort()
        self._free = kept
        if kept:
            self._sweep = self._loop.call_at(kept[0][1] + _IDLE_SECONDS, self._close_unused)

    async def _connect(self) -> Exchange:
        """Try the upstream's addresses, one after the other."""
        addresses = await self._resolved()
        for address in addresses[:-1]:
            with suppress(OSError):  # which a time-out is
                async with asyncio.timeout(_NEXT_ADDRESS_SECONDS):
                    return await self._connect_to(address)
        return await self._connect_to(addresses[-1])

    async def _connect_to(self, address: str) -> Exchange:
        tls = {"ssl": _tls(), "server_hostname": self._host} if self._is_tls else {}
        _, exchange = await self._loop.create_connection(Exchange, address, self._port, **tls)  # type: ignore[call-overload]
        assert isinstance(exchange, Exchange)
        return exchange

    async def _resolved(self) -> list[str]:
        if _is_address(self._host):
            return [self._host]
        async with self._looking_up:  # Once for all who wait for it.
            addresses, known_until = self._addresses
            if not addresses or self._loop.time() > known_until:
                look_up = partial(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
                found = await self._loop.run_in_executor(self._lookups, look_up)
                addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
                self._addresses = addresses, self._loop.time() + _ADDRESS_SECONDS
        return addresses


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _tls() -> ssl.SSLContext:
    """What takes long to make: the system's certificates."""
    return ssl.create_default_context()


def _request_head(options: OpenAIOptions) -> bytes:
    """The head of every request, but for its length. Its values were checked to be printable ASCII."""
    parts = urlsplit(options.url)
    names = {name.lower() for name in options.request_headers}
    own = {"Host": parts.netloc, "Accept-Encoding": "identity", "User-Agent": "channels-agent-gateway"}
    headers = {name: value for name, value in own.items() if name.lower() not in names} | options.request_headers
    lines = [f"POST {quote(parts.path, safe='/%:@!$&()*+,;=~')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
