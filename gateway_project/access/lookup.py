"""Asks the database for API keys: one question at a time, in a thread of its own, for everybody who waits."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

from django.db import InterfaceError, OperationalError, connections, router

from gateway_project import clock
from gateway_project.access.models import APIKey

logger = logging.getLogger("gateway.access")

FRESH_SECONDS = 1.0
"""For so long an answer counts, from the moment that its question was sent: then a revocation has taken effect."""

UNREACHABLE = (OperationalError, InterfaceError)
"""How Django says that a database is away."""

IDLE_SECONDS = 60.0
"""How long a connection may lie idle: what stands between, as a firewall or a load balancer, forgets it some time
without a word, and then a question gets no answer until the kernel gives up, a quarter of an hour later."""

_RETRY_SECONDS = 0.1
_TRIAL_SECONDS = 0.5
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """The usable key of a prefix, or None; and when that was asked, on the monotonic clock."""

    key: APIKey | None
    asked_at: float


_Found = dict[str, APIKey] | Exception


@dataclass(frozen=True, slots=True)
class _Question:
    prefixes: Collection[str]
    loop: asyncio.AbstractEventLoop
    answer: Callable[[_Found], None]


class KeyLookup:
    """Looks keys up by their prefixes. Used in one event loop.

    While one question is under way, the next one gathers, so that however many ask, no more than one waits for
    the database. While that is known to be away, now and then one request tries it; the others are told at once.

    Args:
        within: how long a question may take, in seconds, before the database counts as away.
    """

    def __init__(self, *, within: float) -> None:
        self._within = within
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._asked_at = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._busy = False
        self._away = False
        self._retry_at = 0.0
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._questions.put, None)

    async def ask(self, prefix: str) -> Answer:
        """Ask for the key of `prefix`, together with whoever else asks now.

        Raises:
            OperationalError: when the database is away, at once if that is known.
        """
        now = clock.monotonic()
        if self._away and (self._busy or now < self._retry_at):
            raise _no_answer()
        answer = self._asked.get(prefix)
        if answer is None or now - self._asked_at >= FRESH_SECONDS:
            loop = asyncio.get_running_loop()
            answer = self._waiting.setdefault(prefix, loop.create_future())
            if not self._busy:
                self._send(loop)
        return await asyncio.shield(answer)  # It is others' answer too: one who leaves must not cancel it.

    def close(self, *, within: float = 5) -> None:
        """End the thread and its connection. Blocking."""
        self._end()
        if self._thread is not None:
            self._thread.join(within)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked = {prefix: self._waiting[prefix] for prefix in islice(self._waiting, _BATCH)}
        for prefix in self._asked:
            del self._waiting[prefix]
        self._asked_at = clock.monotonic()
        self._busy = True
        self._deadline = loop.call_later(_TRIAL_SECONDS if self._away else self._within, self._lost)
        if self._thread is None:
            # A daemon, for it may hang in a connect when the process shall end.
            self._thread = threading.Thread(target=_serve, args=(self._questions,), name="gateway-keys", daemon=True)
            self._thread.start()
        self._questions.put(_Question(tuple(self._asked), loop, self._answered))

    def _answered(self, found: _Found) -> None:
        assert self._deadline is not None
        self._deadline.cancel()
        self._busy = False
        if isinstance(found, UNREACHABLE):
            self._lost()
            return
        if self._away:
            self._away = False
            logger.info("access.database_back")
        for prefix, answer in self._asked.items():
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(Answer(found.get(prefix), self._asked_at))
        self._asked = {}
        if self._waiting:
            self._send(asyncio.get_running_loop())

    def _lost(self) -> None:
        """The database is away: tell everybody who waits for it."""
        if not self._away:
            self._away = True
            logger.warning("access.database_unavailable")
        self._retry_at = clock.monotonic() + _RETRY_SECONDS
        for answer in (*self._asked.values(), *self._waiting.values()):
            answer.set_exception(_no_answer())
        self._asked, self._waiting = {}, {}


def _no_answer() -> OperationalError:
    return OperationalError("the database of the API keys does not answer")


# -- the thread ---------------------------------------------------------------------------------------


def _serve(questions: "SimpleQueue[_Question | None]") -> None:
    """Answer questions until one is None."""
    used_at = clock.monotonic()
    try:
        while (question := questions.get()) is not None:
            if clock.monotonic() - used_at >= IDLE_SECONDS:
                _drop(_alias())
            found = _find(question.prefixes)
            used_at = clock.monotonic()
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                question.loop.call_soon_threadsafe(question.answer, found)
            del question  # It holds the lookup, whose end is this thread's end.
    finally:
        connections[_alias()].close()


def _find(prefixes: Collection[str]) -> _Found:
    connection = connections[_alias()]
    was_open = connection.connection is not None
    try:
        return _query(prefixes)
    except UNREACHABLE as error:
        _drop(_alias())
        if not was_open:
            return error
    except Exception as error:  # noqa: BLE001 (whoever asked gets it)
        return error
    try:
        return _query(prefixes)  # The database may have been restarted since that connection was made.
    except Exception as error:  # noqa: BLE001 (whoever asked gets it)
        _drop(_alias())
        return error


def _query(prefixes: Collection[str]) -> dict[str, APIKey]:
    keys = APIKey.objects.using(_alias()).usable().filter(prefix__in=prefixes)
    return {key.prefix: key for key in keys}


def _drop(alias: str) -> None:
    with suppress(Exception):
        connections[alias].close()


def _alias() -> str:
    """Where keys are revoked, too: a replica may lag behind."""
    return router.db_for_write(APIKey)
