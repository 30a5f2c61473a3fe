"""Puts the installed endpoints in front of any ASGI application."""

from collections.abc import MutableMapping
from typing import Any

from django.apps import apps
from django.urls import URLPattern

from gateway_project.agents.registry import registry
from gateway_project.endpoints import ASGIApplication, EndpointConfig
from gateway_project.transport.servers.lifespan import Receive, Send, serve_lifespan


def endpoint_routes() -> list[URLPattern]:
    """The routes of every installed endpoint app, each path once."""
    routes: dict[str, URLPattern] = {}
    for config in apps.get_app_configs():
        if isinstance(config, EndpointConfig):
            for route in (*config.http_routes(), *config.shared_routes()):
                routes.setdefault(str(route.pattern), route)
    return list(routes.values())


def mount(application: ASGIApplication, prefix: str = "") -> ASGIApplication:
    """Answer the endpoints' paths, and leave every other path and scope to `application`.

    Its lifespan is run too, and answered for if it has none.

    Args:
        application: what was there before, e.g. Django's ``get_asgi_application()`` or a router.
        prefix: put before each path, e.g. ``/ai`` for ``/ai/v1/responses``.

    Call it in the asgi module, after ``get_asgi_application()``. Loads what the agents need, so that a
    server listens only when they can answer.
    """
    registry().load()
    return Mount(application, endpoint_routes(), prefix.strip("/"))


class Mount:
    """The ASGI application that `mount` makes."""

    def __init__(self, application: ASGIApplication, routes: list[URLPattern], prefix: str) -> None:
        self.application = application
        self.routes = routes
        self._start = f"/{prefix}/" if prefix else "/"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self.application, scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].startswith(self._start):
            path = scope["path"][len(self._start) :]
            for route in self.routes:
                match = route.pattern.match(path)
                if match is not None and not match[0]:
                    endpoint: Any = route.callback
                    scope = {**scope, "url_route": {"args": match[1], "kwargs": match[2]}}
                    await endpoint(scope, receive, send)
                    return
        await self.application(scope, receive, send)
