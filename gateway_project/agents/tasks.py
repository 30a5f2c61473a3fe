"""The tasks that an agent starts belong to its run: when the run is aborted they are found and cancelled too.

Found by a task factory, which sees every task that one of the run's tasks starts, by the agent or by what it
calls. What outlives a run on purpose (a pool of connections that all runs share) is made under `detached`.
"""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
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

    def has(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether `task` is one of the group.

        Its context does not tell: callbacks carry it along, so that a server's own callbacks may run in the context
        of a run that happened to write last.
        """
        return task is not None and ((self._own is not None and task is self._own()) or task in self._tasks)

    def take(self, task: "asyncio.Task[Any]") -> None:
        """Take `task` in."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel those that are left, but for the run's own."""
        for task in self._left():
            task.cancel()

    async def end(self) -> None:
        """Cancel those that are left, but for the run's own, and wait until they have ended.

        And those that these start while they end.
        """
        pause = 0.0
        while left := self._left():
            self.cancel()
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
        context: Context | None = options.get("context")
        group = _group.get() if context is None else context.get(_group)
        if group is None or not group.has(asyncio.current_task()):
            return self._made(loop, coro, options)
        task = self._made(loop, _Contained(coro), options)
        group.take(task)
        return task

    def _made(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], options: dict[str, Any]
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any]
        task = self._make(loop, coro, **options) if self._make else asyncio.Task(coro, loop=loop, **options)
        return task


class _Contained(Coroutine[Any, Any, Any]):
    """The coroutine of an agent's task. If it exits the task fails: asyncio would let it end the whole process."""

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro
        self.__name__ = getattr(coro, "__name__", type(coro).__name__)
        self.__qualname__ = getattr(coro, "__qualname__", self.__name__)

    def send(self, value: Any) -> Any:
        try:
            return self._coro.send(value)
        except SystemExit as failure:
            raise _exited(failure) from failure

    def throw(self, *error: Any) -> Any:
        try:
            return self._coro.throw(*error)
        except SystemExit as failure:
            raise _exited(failure) from failure

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        """What debuggers and libraries ask of a coroutine: its frame, its state."""
        return getattr(self._coro, name)


def _exited(failure: SystemExit) -> RuntimeError:
    return RuntimeError(f"a task of the agent called sys.exit({failure.code!r})")
