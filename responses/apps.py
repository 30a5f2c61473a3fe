"""The endpoint app of Responses."""

from collections.abc import Iterable
from typing import Any

from django.urls import URLPattern, path

from gateway_project import endpoints


class ResponsesConfig(endpoints.EndpointConfig):
    """Installing this app turns ``/v1/responses`` on."""

    default = True
    name = __name__.rpartition(".")[0]
    label = "gateway_responses"
    verbose_name = "Responses endpoint"

    def http_routes(self) -> Iterable[URLPattern]:
        """The endpoint's one path."""
        from .consumer import ResponsesConsumer

        consumer: Any = ResponsesConsumer.as_asgi()
        return (path("v1/responses", consumer),)
