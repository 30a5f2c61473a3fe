"""What an endpoint app is: a Django app whose presence in ``INSTALLED_APPS`` turns its routes on."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.apps import AppConfig
from django.urls import URLPattern, path

ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]


class EndpointConfig(AppConfig):
    """Base of the endpoint apps' configurations.

    The concrete class sets ``default = True``, a fixed ``label``, and takes its ``name`` from where it lies:
    the same source is a top-level package in the project and a sub-package in the wheel.
    """

    def http_routes(self) -> Iterable[URLPattern]:
        """The paths it answers, without a leading slash, as ``path(…, Consumer.as_asgi())``."""
        return ()

    def websocket_routes(self) -> Iterable[URLPattern]:
        """The paths at which it answers WebSockets, in the same form."""
        return ()

    def shared_routes(self) -> Iterable[URLPattern]:
        """Paths that every endpoint brings along: the catalogue of models."""
        from gateway_project.transport.catalogue import ModelCatalogue

        catalogue: Any = ModelCatalogue.as_asgi()
        return (path("v1/models", catalogue), path("v1/models/<path:model>", catalogue))

    def ready(self) -> None:
        """Mend what the server lacks, and let the process report of itself."""
        from gateway_project import checks  # noqa: F401 (registers the system checks)
        from gateway_project.execution import probes
        from gateway_project.transport.servers import install_remedies

        install_remedies()
        probes.register()
