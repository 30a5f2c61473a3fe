"""The endpoint app of Chat Completions."""

from collections.abc import Iterable
from typing import Any

from django.urls import URLPattern, path

from gateway_project import endpoints


class CompletionsConfig(endpoints.EndpointConfig):
    """Installing this app turns ``/v1/chat/completions`` on."""

    default = True
    name = __name__.rpartition(".")[0]
    label = "gateway_completions"
    verbose_name = "Chat Completions endpoint"

    def http_routes(self) -> Iterable[URLPattern]:
        """The endpoint's one path."""
        from .consumer import ChatCompletionsConsumer

        consumer: Any = ChatCompletionsConsumer.as_asgi()
        return (path("v1/chat/completions", consumer),)
