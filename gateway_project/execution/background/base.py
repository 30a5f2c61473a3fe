"""The contract of a background backend, and who knows how to start a run from its record."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import cache

from django.core.signals import setting_changed
from django.dispatch import receiver

from gateway_project.conf import gateway_settings, import_dotted
from gateway_project.runs.record import RunRecord
from gateway_project.runs.vocabulary import Endpoint

Starter = Callable[[uuid.UUID], Awaitable[None]]
"""Starts the run with this id, in this process, from what the database knows of it."""

_starters: dict[Endpoint, Starter] = {}


def register_starter(endpoint: Endpoint, starter: Starter) -> None:
    """An endpoint app says, when it is ready, how its runs are started."""
    _starters[endpoint] = starter


def starter_of(endpoint: Endpoint) -> Starter:
    """The starter of an endpoint's runs. Raises KeyError when the endpoint is not installed."""
    return _starters[endpoint]


class BackgroundBackend(ABC):
    """Takes over runs whose record and request are durable."""

    @abstractmethod
    def check_room(self, record: RunRecord) -> None:
        """Refuse a run before anything of it is written.

        Raises:
            AgentError: 429 when there is no room, 503 while the process drains.
        """

    @abstractmethod
    async def submit(self, record: RunRecord) -> None:
        """See to it that the run is started. Only its id and endpoint are looked at.

        Raises:
            AgentError: when it cannot be taken after all.
        """


@cache
def background_backend() -> BackgroundBackend:
    """The backend of ``GATEWAY["BACKGROUND"]``."""
    backend: type[BackgroundBackend] = import_dotted(gateway_settings().BACKGROUND, "GATEWAY['BACKGROUND']")
    return backend()


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "GATEWAY":
        background_backend.cache_clear()
