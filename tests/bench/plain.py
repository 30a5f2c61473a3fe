"""The floor of a stream that is passed on: a plain Channels consumer with httpx, as one would write it first.

It reads each event, decodes and encodes it again, and keeps no record. ``UPSTREAM`` in the environment is its URL.
"""

import json
import os
from typing import Any

import httpx2
from channels.generic.http import AsyncHttpConsumer

_client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=60)


class Consumer(AsyncHttpConsumer):  # type: ignore[misc]  # channels has no types
    """One request."""

    async def handle(self, body: bytes) -> None:
        """Pass the upstream's answer on, event by event."""
        await self.send_headers(headers=[(b"content-type", b"text/event-stream")])
        async with _client.stream("POST", os.environ["UPSTREAM"], content=body) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    event: Any = json.loads(line[6:])
                    await self.send_body(b"data: " + json.dumps(event).encode() + b"\n\n", more_body=True)
        await self.send_body(b"data: [DONE]\n\n")


application: Any = Consumer.as_asgi()
