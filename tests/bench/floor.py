"""The floor: a bare ASGI callable that answers the same bytes from memory."""

from collections.abc import Awaitable, Callable
from typing import Any

JSON_BODY = b'{"id":"chatcmpl-0","object":"chat.completion","choices":[{"index":0,"message":{"content":"' + b"x" * 300
CHUNK = b'data: {"id":"chatcmpl-0","choices":[{"index":0,"delta":{"content":" alpha"}}]}' + b" " * 120 + b"\n\n"


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """JSON at ``/json``; as many chunks as the query string says at ``/stream``."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    if scope["path"] == "/stream":
        for _ in range(int(scope["query_string"])):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": JSON_BODY})
