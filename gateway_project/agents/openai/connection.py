"""HTTP to the upstream: pooled connections, three deadlines, and a close that is felt at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from weakref import WeakKeyDictionary

import aiohttp

from gateway_project.agents.errors import UpstreamError, UpstreamTimeout
from gateway_project.agents.openai.options import OpenAIOptions
from gateway_project.agents.openai.stream import cut_off
from gateway_project.agents.tasks import detached

_IDLE_SECONDS = 4
"""How long an unused connection is kept: less than uvicorn's 5 s, so that no request meets a closing one."""
_DRAIN_SECONDS = 0.25
_DRAIN_BYTES = 64 * 1024
_NO_ANSWER = "The upstream did not answer in time."


class _AbortingResponse(aiohttp.ClientResponse):
    """Closes without waiting for what is unsent, or for the other side's TLS goodbye.

    A transport's `close` first writes its buffer out: an upstream that does not read would keep an aborted request.
    """

    def close(self) -> None:
        """Close the connection now."""
        transport = self.connection.transport if self.connection is not None else None
        if transport is not None:
            transport.abort()
        super().close()


class Reply:
    """The upstream's answer to one request, read in pieces.

    Raises of all its readers:
        UpstreamTimeout: when it is silent for too long.
        UpstreamError: when the connection is lost.
    """

    def __init__(self, response: aiohttp.ClientResponse, *, first_byte_at: float, silence_seconds: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        """Names in any case."""
        self.content_type = response.content_type
        self._content = response.content
        self._silence_seconds = silence_seconds
        self._deadline = first_byte_at
        self._begun = False

    async def read(self) -> bytes:
        """What has come since the last read, or, if nothing has, the next bytes; empty at the end."""
        if self._begun:
            self._deadline = asyncio.get_running_loop().time() + self._silence_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                data = await self._content.readany()
        except TimeoutError:
            raise UpstreamTimeout("The upstream fell silent." if self._begun else _NO_ANSWER) from None
        except (aiohttp.ClientError, OSError):
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
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0 and (data := await self.read()):
                    left -= len(data)


class Connections:
    """The pool of connections to one upstream, for each event loop its own."""

    def __init__(self, options: OpenAIOptions) -> None:
        self._options = options
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    @asynccontextmanager
    async def post(self, body: bytes) -> AsyncIterator[Reply]:
        """Send a request; inside is its answer. On the way out a connection that was not read to its end is closed.

        Raises:
            UpstreamTimeout: when connecting, or the first byte, takes too long.
            UpstreamError: when the upstream cannot be reached, or closes without an answer.
        """
        first_byte_at = asyncio.get_running_loop().time() + self._options.first_byte_timeout
        response = await self._send(body, first_byte_at)
        try:
            yield Reply(response, first_byte_at=first_byte_at, silence_seconds=self._options.silence_timeout)
        finally:
            response.close()

    async def close(self) -> None:
        """Close the pool of the running loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    async def _send(self, body: bytes, first_byte_at: float) -> aiohttp.ClientResponse:
        try:
            # The pool's own tasks, such as a look-up that others wait for too, are no part of this run.
            async with asyncio.timeout_at(first_byte_at):
                # A redirect is not followed: the key goes to no other address than the configured one.
                # A file is sent in pieces as the upstream takes them; bytes would be copied to the buffer whole.
                with detached():
                    return await self._session().post(self._options.url, data=BytesIO(body), allow_redirects=False)
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamTimeout("The upstream could not be reached in time.") from None
        except TimeoutError:
            raise UpstreamTimeout(_NO_ANSWER) from None
        except aiohttp.ClientConnectorError:
            raise UpstreamError("The upstream could not be reached.", code="upstream_unreachable") from None
        except (aiohttp.ClientError, OSError):
            raise UpstreamError("The upstream closed the connection without an answer.") from None

    def _session(self) -> aiohttp.ClientSession:
        """The running loop's session, made at its first request."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            connector = aiohttp.TCPConnector(
                limit=self._options.max_connections, keepalive_timeout=_IDLE_SECONDS, ttl_dns_cache=60
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._options.connect_timeout, sock_connect=None),
                headers=self._options.request_headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_AbortingResponse,
                trust_env=False,
            )
            self._sessions[loop] = session
        return session
