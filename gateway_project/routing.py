"""Puts the installed endpoints in front of any ASGI application."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.urls import URLPattern, re_path

from gateway_project.agents.registry import registry
from gateway_project.endpoints import ASGIApplication, EndpointConfig
from gateway_project.transport.claims import claim
from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.nowhere import Nowhere
from gateway_project.transport.servers.lifespan import serve_lifespan


def endpoint_routes() -> list[URLPattern]:
    """The HTTP routes of every installed endpoint app, each path once."""
    return _once(route for config in _endpoints() for route in (*config.http_routes(), *config.shared_routes()))


def websocket_routes() -> list[URLPattern]:
    """The WebSocket routes of every installed endpoint app, each path once."""
    return _once(route for config in _endpoints() for route in config.websocket_routes())


def _endpoints() -> Iterator[EndpointConfig]:
    return (config for config in apps.get_app_configs() if isinstance(config, EndpointConfig))


def _once(routes: Iterable[URLPattern]) -> list[URLPattern]:
    found: dict[str, URLPattern] = {}
    for route in routes:
        found.setdefault(str(route.pattern), route)
    return list(found.values())


def mount(application: ASGIApplication, prefix: str = "", *, owns: str | None = None) -> ASGIApplication:
    """Answer the endpoints' paths, and leave every other path and scope to `application`.

    Its lifespan is run too, and answered for if it has none.

    Args:
        application: what was there before, e.g. Django's ``get_asgi_application()`` or a router.
        prefix: put before each path, e.g. ``/ai`` for ``/ai/v1/responses``.
        owns: how all paths begin, behind `prefix`, that `application` has no part in, e.g. ``v1/``. Those that no
            endpoint has are answered with a 404 in the endpoints' own form.

    Call it in the asgi module, after ``get_asgi_application()``. Loads what the agents need, so that a
    server listens only when they can answer.
    """
    registry().load()
    routes = {"http": endpoint_routes(), "websocket": websocket_routes()}
    if owns is not None:
        nowhere: Any = Nowhere.as_asgi()
        routes["http"].append(re_path(rf"^{re.escape(owns)}(?s:.*)$", nowhere))
    mounted = Mount(application, routes, prefix.strip("/"))
    claim(mounted.answers)
    return mounted


_Found = tuple[ASGIApplication, tuple[Any, ...], Mapping[str, Any]]
"""An endpoint with the arguments that its path holds."""


class Mount:
    """The ASGI application that `mount` makes.

    Args:
        routes: by the type of their scopes.
    """

    def __init__(self, application: ASGIApplication, routes: Mapping[str, list[URLPattern]], prefix: str) -> None:
        self.application = application
        self.routes = routes
        self._start = f"/{prefix}/" if prefix else "/"
        # Asked several times for each request, and nearly always for the same few.
        self._find = lru_cache(maxsize=256)(self._search)

    def answers(self, kind: str, path: str) -> bool:
        """Whether this path is one of the endpoints', in scopes of this type."""
        return self._find(kind, path) is not None

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self.application, scope, receive, send)
            return
        found = self._find(scope["type"], scope["path"])
        if found is None:
            await self.application(scope, receive, send)
            return
        endpoint, args, kwargs = found
        await endpoint({**scope, "url_route": {"args": args, "kwargs": dict(kwargs)}}, receive, send)

    def _search(self, kind: str, path: str) -> _Found | None:
        routes = self.routes.get(kind)
        if not routes or not path.startswith(self._start):
            return None
        for route in routes:
            match = route.pattern.match(path[len(self._start) :])
            if match is not None and not match[0]:
                endpoint: Any = route.callback
                return endpoint, match[1], match[2]
        return None
