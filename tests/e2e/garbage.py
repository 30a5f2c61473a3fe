"""The project's application, which also tells at ``GET /garbage`` how many objects only the collector could free.

At ``GET /connections`` it tells how many connections it has in memory.
"""

import gc
from typing import Any

from gateway_project.asgi import application as _application
from gateway_project.transport.servers.channel import GatewayChannel

gc.disable()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Counts since it was asked last."""
    match scope.get("path"):
        case "/garbage":
            number = gc.collect()
        case "/connections":
            number = sum(isinstance(found, GatewayChannel) for found in gc.get_objects())
        case _:
            await _application(scope, receive, send)
            return
    found = str(number).encode()
    headers = [(b"content-length", str(len(found)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": found})
