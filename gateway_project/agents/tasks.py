"""The tasks that an agent starts belong to its run: when the run is aborted they are found and cancelled too.

Found by a task factory, which sees every task that is made in the context of a run, by the agent or by what it
calls. What outlives a run on purpose (a pool of connections that all runs share) is made under `detached`.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any
from weakref import WeakSet

_group: ContextVar["RunTasks | None"] = ContextVar("gateway_run_tasks", default=None)


class RunTasks:
    """The tasks of one run."""

    def __init__(self) -> None:
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    def enter(self) -> None:
        """From here on, what the current task starts belongs to this group."""
        _install(asyncio.get_running_loop())
        _group.set(self)

    def add(self, task: "asyncio.Task[Any]") -> None:
        """One more."""
        self._tasks.add(task)

    async def end(self) -> None:
        """Cancel those that are left, and wait until they have ended."""
        left = [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


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
            group.add(task)
        return task
