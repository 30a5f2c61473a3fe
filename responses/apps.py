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
        """To make a response, and to come back for it."""
        from .compact import CompactConsumer
        from .consumer import ResponsesConsumer
        from .stored import CancelConsumer, InputItemsConsumer, StoredResponseConsumer

        consumers: dict[str, Any] = {
            "v1/responses": ResponsesConsumer,
            "v1/responses/compact": CompactConsumer,
            "v1/responses/<str:id>": StoredResponseConsumer,
            "v1/responses/<str:id>/cancel": CancelConsumer,
            "v1/responses/<str:id>/input_items": InputItemsConsumer,
        }
        return tuple(path(route, consumer.as_asgi()) for route, consumer in consumers.items())

    def websocket_routes(self) -> Iterable[URLPattern]:
        """To make responses one after the other on one connection."""
        from .websocket import ResponsesSocket

        consumer: Any = ResponsesSocket
        return (path("v1/responses", consumer.as_asgi()),)

    def ready(self) -> None:
        """Say how a response in the background is started, and what is to go with its run."""
        from gateway_project.execution.background import register_starter
        from gateway_project.runs.retention.belongings import register_belongings
        from gateway_project.runs.vocabulary import Endpoint

        from .background import start
        from .belongings import StoredResponses

        super().ready()
        register_starter(Endpoint.RESPONSES, start)
        register_belongings(StoredResponses())
