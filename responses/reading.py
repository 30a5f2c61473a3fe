"""Asks the database in threads of its own, which hold up neither the journal nor Django's views.

Their connections stay open. To open one costs three times what a question does on SQLite, and more on PostgreSQL.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import ParamSpec, TypeVar

from django.core.signals import setting_changed
from django.db import InterfaceError, InternalError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import receiver

from gateway_project import clock
from gateway_project.access.lookup import IDLE_SECONDS
from gateway_project.conf import gateway_settings
from gateway_project.transport.errors import DatabaseAway

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4
"""Each is made when all others are busy."""


async def read(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the database.

    Raises:
        DatabaseAway: when it does not answer.
    """
    try:
        return await _readers().ask(partial(ask, *args, **kwargs))
    except (InterfaceError, InternalError, OperationalError):  # the second of one that takes no writes now
        raise DatabaseAway from None


class _Readers:
    """The threads, and the connections that they have."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._connections: list[BaseDatabaseWrapper] = []
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(_THREADS, "gateway-responses", initializer=self._enter)

    async def ask(self, question: Callable[[], T]) -> T:
        """Its answer."""
        in_context = partial(copy_context().run, self._ask, question)
        return await asyncio.get_running_loop().run_in_executor(self._threads, in_context)

    def close(self) -> None:
        """End the threads and their connections. Blocking."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def _enter(self) -> None:
        connection = connections[self._alias]
        connection.inc_thread_sharing()  # It is closed by another thread.
        self._connections.append(connection)
        self._own.used_at = clock.monotonic()

    def _ask(self, question: Callable[[], T]) -> T:
        connection = connections[self._alias]
        if clock.monotonic() - self._own.used_at >= IDLE_SECONDS:
            connection.close()
        try:
            return self._asked(question, connection)
        finally:
            self._own.used_at = clock.monotonic()

    def _asked(self, question: Callable[[], T], connection: BaseDatabaseWrapper) -> T:
        was_open = connection.connection is not None
        try:
            return question()
        except (InterfaceError, OperationalError):
            if not was_open or connection.is_usable():
                raise
            connection.close()
        return question()  # The database may have been restarted since that connection was made.


@cache
def _readers() -> _Readers:
    """Those for the settings in force, made at the first question."""
    return _Readers(gateway_settings().DATABASE)


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "GATEWAY" and _readers.cache_info().currsize:
        _readers().close()
        _readers.cache_clear()
