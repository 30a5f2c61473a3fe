"""The tasks that an agent starts belong to its run: when the run is aborted they are found and cancelled too.

Found by a task factory, which sees every task that one of the run's tasks starts, by the agent or by what it
calls. What outlives a run on purpose (a pool of connections that all runs share) is made under `detached`.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any
from weakref import ReferenceType, ref

_group: ContextVar["RunTasks | None"] = ContextVar("gateway_run_tasks", default=None)


class RunTasks:
    """The tasks of one run."""

    def __init__(self) -> None:
        self._own: ReferenceType[asyncio.Task[Any]] | None = None
        """The run's, which holds this object by its context."""
        self._tasks: set[asyncio.Task[Any]] = set()
        """Those of the others that have not ended."""

    def enter(self) -> None:
        """From here on, what the current task starts belongs to this group, and what that starts."""
        _install(asyncio.get_running_loop())
        current = asyncio.current_task()
        assert current is not None
        self._own = ref(current)
        _group.set(self)

    def take(self, task: "asyncio.Task[Any]") -> None:
        """Take `task` in, if one of the group starts it.

        The context alone does not tell: callbacks carry it along, so that a server's own callbacks may run in
        the context of a run that happened to write last.
        """
        current = asyncio.current_task()
        if current is not None and ((self._own is not None and current is self._own()) or current in self._tasks):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel those that are left, but for the run's own, and wait until they have ended.

        And those that these start while they end.
        """
        pause = 0.0
        while left := self._left():
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            if self._left():  # One that always starts another must not keep the loop busy.
                await asyncio.sleep(pause)
                pause = min(pause + 0.01, 1.0)

    def _left(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]


@contextmanager
def detached() -> Iterator[None]:
    """What is started inside belongs to no run."""
    token = _group.set(None)
    try:
        yield
    finally:
        _group.reset(token)


def _install(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop tell each new task to its group; a factory that is there already goes on making them."""
    before = loop.get_task_factory()
    if isinstance(before, _Factory):
        return
    loop.set_task_factory(_Factory(before))


class _Factory:
    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any]
        task = self._make(loop, coro, **options) if self._make else asyncio.Task(coro, loop=loop, **options)
        context: Context | None = options.get("context")
        group = _group.get() if context is None else context.get(_group)
        if group is not None:
            group.take(task)
        return task
