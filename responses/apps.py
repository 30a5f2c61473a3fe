"""The endpoint app of Responses."""

from collections.abc import Iterable

from django.urls import URLPattern

from gateway_project import endpoints


class ResponsesConfig(endpoints.EndpointConfig):
    """Installing this app turns ``/v1/responses`` on."""

    default = True
    name = __name__.rpartition(".")[0]
    label = "gateway_responses"
    verbose_name = "Responses endpoint"

    def http_routes(self) -> Iterable[URLPattern]:
        """The endpoint's one path."""
        return ()
