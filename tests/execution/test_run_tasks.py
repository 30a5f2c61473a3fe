"""The tasks that an agent starts end with its run, and no others."""

import asyncio
import gc
import inspect
import sys

import pytest

from gateway_project.agents.events import Finish, TextDelta
from gateway_project.agents.request import AgentRequest
from gateway_project.agents.signal import AbortSignal
from gateway_project.agents.tasks import detached
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, RunStatus
from tests.execution.stage import Events, Stage, turns


async def test_tasks_that_the_agent_left_are_stopped_with_it() -> None:
    left: list[asyncio.Task[None]] = []

    async def work() -> None:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))  # type: ignore[arg-type]  # its own child
        await asyncio.Event().wait()

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(work()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert [task.cancelled() for task in left] == [True, True]


async def test_an_agent_has_not_stopped_before_its_tasks_have() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        tasks.append(asyncio.ensure_future(stubborn()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    tasks: list[asyncio.Task[None]] = []
    stage = Stage(script, grace_seconds=0.03)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.UNRESPONSIVE
    release.set()
    await asyncio.wait([stage.run.task], timeout=30)
    assert tasks[0].done()


async def test_what_they_start_while_they_are_stopped_is_stopped_too() -> None:
    started: list[asyncio.Task[bool]] = []

    async def starts_another_when_stopped() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            started.append(asyncio.ensure_future(asyncio.Event().wait()))

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        kept.append(asyncio.ensure_future(starts_another_when_stopped()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    kept: list[asyncio.Task[None]] = []
    stage = Stage(script)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.STOPPED
    assert [task.cancelled() for task in started] == [True]


async def test_one_that_always_starts_another_has_not_stopped() -> None:
    may_end = False

    async def undying() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if not may_end:
                kept.append(asyncio.ensure_future(undying()))
                await asyncio.sleep(0)

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        kept.append(asyncio.ensure_future(undying()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    kept: list[asyncio.Task[None]] = []
    stage = Stage(script, grace_seconds=0.1)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    assert (await stage.end()).abort_outcome == AbortOutcome.UNRESPONSIVE
    assert len(kept) < 100
    may_end = True
    await asyncio.wait([stage.run.task], timeout=30)
    assert stage.run.task.done()


async def test_what_is_shared_on_purpose_is_left_alone() -> None:
    shared: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        with detached():
            shared.append(asyncio.ensure_future(asyncio.Event().wait()))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()
    assert not shared[0].done()
    shared[0].cancel()


async def test_a_run_that_ends_by_itself_may_leave_tasks() -> None:
    left: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))
        yield Finish("stop")

    await Stage(script).end()
    assert not left[0].done()
    left[0].cancel()


async def test_of_a_run_that_fails_nothing_works_on() -> None:
    left: list[asyncio.Task[bool]] = []

    async def breaks() -> None:
        raise ValueError

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))
        await asyncio.gather(left[0], breaks())
        yield Finish("stop")

    assert (await Stage(script).end()).status == RunStatus.FAILED
    await asyncio.wait(left, timeout=30)
    assert left[0].cancelled()


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_a_task_that_exits_ends_neither_the_process_nor_more_than_its_run(is_awaited: bool) -> None:
    async def exits() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        child = asyncio.ensure_future(exits())
        assert inspect.getcoroutinestate(child.get_coro()) == inspect.CORO_CREATED  # type: ignore[arg-type]
        await asyncio.wait([child])
        assert isinstance(child.exception(), RuntimeError)
        if is_awaited:
            await child
        yield Finish("stop")

    end = await Stage(script).end()
    assert end.status == (RunStatus.FAILED if is_awaited else RunStatus.COMPLETED)


async def test_a_task_that_is_cancelled_before_its_first_step_leaves_nothing_behind() -> None:
    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        child = asyncio.ensure_future(asyncio.sleep(60))
        child.cancel()
        await asyncio.wait([child])
        yield Finish("stop")

    assert (await Stage(script).end()).status == RunStatus.COMPLETED
    gc.collect()  # A coroutine that was never awaited would be warned of, which is an error here.


async def test_what_others_start_in_the_runs_context_is_not_its_own() -> None:
    others: list[asyncio.Task[bool]] = []

    async def script(request: AgentRequest, signal: AbortSignal) -> Events:
        # A callback carries the context along, as a server's callback for the socket does.
        asyncio.get_running_loop().call_soon(lambda: others.append(asyncio.ensure_future(asyncio.Event().wait())))
        yield TextDelta("a")
        await asyncio.Event().wait()

    stage = Stage(script)
    await stage.started()
    await turns()
    stage.run.abort(AbortCause.CLIENT_DISCONNECT)
    await stage.end()
    assert not others[0].done()
    others[0].cancel()
