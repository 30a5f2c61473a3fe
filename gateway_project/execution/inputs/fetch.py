"""A download that cannot be turned against the server's own network.

Each host is looked up here, once for each connection; every address must be public, and the connection is made to
one of those very addresses. A redirect starts anew. Needs aiohttp.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway_project.execution.inputs.addresses import Address, is_forbidden, is_public
from gateway_project.execution.inputs.problems import Budget, InputProblem
from gateway_project.input_settings import WEB_PORTS, InputSettings, names

_HEADERS = {"User-Agent": "channels-agent-gateway", "Accept": "*/*", "Accept-Encoding": "identity"}
_URL_CHARACTERS = 8000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOOKUPS = ThreadPoolExecutor(8, thread_name_prefix="gateway-lookup")
"""Of our own: names that a client makes up, and that are slow to look up, must not hold up everybody's."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came. `host` is the last one, after `redirects`."""

    data: bytes
    declared: str
    filename: str
    host: str
    redirects: int


async def fetch(url: str, limits: InputSettings, budget: Budget) -> Fetched:
    """Download `url`. However this is left, its connection is closed at once.

    Raises:
        InputProblem: when it must not be fetched, cannot be, takes too long, or is too large.
    """
    try:
        async with asyncio.timeout(limits.FETCH_SECONDS), _session(limits) as session:
            return await _follow(session, _parsed(url), limits, budget)
    except TimeoutError:
        raise InputProblem("download", "The download took too long.") from None
    except (aiohttp.ClientError, OSError):
        raise InputProblem("download", "The download failed: the server was not reached, or broke off.") from None


def host_of(url: str) -> str:
    """The host in `url`, for the record; empty where there is none."""
    try:
        return _parsed(url).raw_host or ""
    except InputProblem:
        return ""


def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of `host`, from the system's resolver. Blocking.

    Raises:
        OSError: when there are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _GuardedResolver(AbstractResolver):
    """Gives out only addresses that may be connected to."""

    def __init__(self, limits: InputSettings) -> None:
        self._limits = limits

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look `host` up and check what comes.

        Raises:
            InputProblem: when there is no address, or one that is not public: from outside the two look the same.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(_LOOKUPS, look_up, host, port)
        except (OSError, UnicodeError):
            raise _no_address() from None
        addresses = [ipaddress.ip_address(text) for text in found]
        _check_addresses(addresses, host, port, self._limits)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _session(limits: InputSettings) -> aiohttp.ClientSession:
    """A session for one download."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_GuardedResolver(limits), use_dns_cache=False, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, connect=limits.CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        auto_decompress=False,  # else a small answer could fill the memory before it is looked at
        trust_env=False,
    )


async def _follow(session: aiohttp.ClientSession, url: URL, limits: InputSettings, budget: Budget) -> Fetched:
    for redirects in range(limits.REDIRECTS + 1):
        _check_url(url, limits)
        async with _get(session, url) as response:
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                data = await _body(response, limits, budget)
                declared = response.headers.get("Content-Type", "")
                return Fetched(data, declared, PurePosixPath(url.path).name, url.raw_host or "", redirects)
        url = url.join(_parsed(location))
    raise InputProblem("download", f"The URL redirects more than {limits.REDIRECTS} times.")


@asynccontextmanager
async def _get(session: aiohttp.ClientSession, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
    """One answer. On the way out its connection is closed without the other side's TLS goodbye."""
    response = await session.get(url, allow_redirects=False)
    try:
        yield response
    finally:
        transport = response.connection.transport if response.connection is not None else None
        if transport is not None:
            transport.abort()
        response.close()


async def _body(response: aiohttp.ClientResponse, limits: InputSettings, budget: Budget) -> bytes:
    if not 200 <= response.status < 300:
        raise InputProblem("download", f"The download failed: the server answered {response.status}.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InputProblem("download", "The download failed: the server sent it compressed without being asked.")
    too_large = InputProblem("size", f"The download has more than {limits.PART_BYTES} bytes.")
    if (response.content_length or 0) > limits.PART_BYTES:
        raise too_large
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > limits.PART_BYTES:
            raise too_large
        budget.spend(len(data))
    return bytes(body)


def _parsed(text: str) -> URL:
    if len(text) > _URL_CHARACTERS:
        raise InputProblem("url", f"The URL has more than {_URL_CHARACTERS} characters.")
    try:
        return URL(text)
    except ValueError:
        raise InputProblem("url", "The URL is not valid.") from None


def _check_url(url: URL, limits: InputSettings) -> None:
    """Refuse what can be refused without a look-up.

    Raises:
        InputProblem: saying why.
    """
    if url.scheme not in ("http", "https"):
        raise InputProblem("url", "Only http and https URLs are fetched.")
    if url.user is not None or url.password is not None:
        raise InputProblem("url", "A URL that is fetched must hold no user and no password.")
    host, port = (url.raw_host or "").rstrip(".").lower(), url.port or 0
    named = names(limits.HOSTS, host, port) or names(limits.PRIVATE_HOSTS, host, port)
    if limits.HOSTS and not named:
        raise InputProblem("url", "The URL's host is not one of those that are allowed here.")
    if port not in WEB_PORTS and not named:
        raise InputProblem("url", "Only the ports 80 and 443 are fetched from.")
    if (address := _literal(host)) is not None:
        _check_addresses([address], host, port, limits)


def _literal(host: str) -> Address | None:
    """The address that `host` spells. Other spellings of addresses (octal, one number) are no names either."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]
        if not host or last.isdigit() or last.startswith("0x"):
            raise InputProblem("url", "The URL's host is not valid.") from None
        return None


def _check_addresses(addresses: Sequence[Address], host: str, port: int, limits: InputSettings) -> None:
    may_be_private = names(limits.PRIVATE_HOSTS, host.rstrip(".").lower(), port)
    for address in addresses:
        if is_forbidden(address) or not (may_be_private or is_public(address)):
            raise _no_address()
    if not addresses:
        raise _no_address()


def _no_address() -> InputProblem:
    return InputProblem("url", "The URL's host has no public address.")
