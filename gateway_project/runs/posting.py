"""Posts something to an address that the operator names. Blocking; for threads and commands, never for the loop.

The address may be private: it is the operator's own. No redirect is followed, no proxy asked, nothing read of the
answer but its status. Needs aiohttp.
"""

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec

MISSING_CLIENT = "aiohttp is not installed: pip install 'channels-agent-gateway[urls]'."
_USER_AGENT = "channels-agent-gateway"


class NotPosted(Exception):
    """Nobody has answered."""


def has_client() -> bool:
    """Whether anything can be posted."""
    return find_spec("aiohttp") is not None


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
    """Post `body`; returns the status of the answer.

    Raises:
        NotPosted: when there is no answer within `seconds`, or no client to post with; saying why.
    """
    if not has_client():
        raise NotPosted(MISSING_CLIENT)
    return asyncio.run(_post(url, body, headers, seconds))


async def _post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
    import aiohttp  # an extra, and slow to import

    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": _USER_AGENT}) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status
    except TimeoutError:
        raise NotPosted(f"no answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotPosted(type(error).__name__) from error  # Its text may name the address, which may be a secret.
