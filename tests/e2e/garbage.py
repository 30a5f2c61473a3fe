"""The project's application, which also tells at ``GET /garbage`` how many objects only the collector could free."""

import gc
from typing import Any

from gateway_project.asgi import application as _application

gc.disable()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Counts since it was asked last."""
    if scope.get("path") != "/garbage":
        await _application(scope, receive, send)
        return
    found = str(gc.collect()).encode()
    headers = [(b"content-length", str(len(found)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": found})
