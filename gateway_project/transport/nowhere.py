"""What is answered where no endpoint is."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views import defaults

from gateway_project.transport.connection import ASGIReceive, ASGISend
from gateway_project.transport.consumer import GatewayConsumer
from gateway_project.transport.errors import APIError, InvalidHost, UnknownURL, envelope
from gateway_project.transport.host import check_host


class Nowhere(GatewayConsumer):
    """A path without an endpoint. It asks for no key, and tells nothing but that."""

    async def check_request(self) -> None:
        """Check the host only.

        Raises:
            InvalidHost: as everywhere.
            UnknownURL: else.
        """
        check_host(self.scope)
        raise UnknownURL(self.scope["method"], self.scope["path"])


async def no_websocket(scope: Mapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
    """Refuse a WebSocket, which the server answers with 403 (ASGI specification, WebSocket, "Close")."""
    await receive()
    await send({"type": "websocket.close"})


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler404``, in the endpoints' form; the admin keeps its own."""
    if request.path.startswith(reverse("admin:index")):
        return defaults.page_not_found(request, exception)
    return _reply(UnknownURL(request.method or "", request.path))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``, in the endpoints' form."""
    return _reply(InvalidHost() if isinstance(exception, DisallowedHost) else APIError("The request is not allowed."))


def _reply(error: APIError) -> HttpResponse:
    return JsonResponse(envelope(error), status=error.status)
