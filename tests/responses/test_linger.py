"""A stream that waits for its client: who comes back in the last moment is there."""

import asyncio
from types import SimpleNamespace

import pytest

from responses import following, linger
from responses.linger import Linger
from tests.execution.stage import Stage, forever


async def test_who_comes_back_while_the_database_is_asked_about_others_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asyncio.Event()
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def submit(change: object) -> "asyncio.Future[object]":
        asked.set()
        return answer

    monkeypatch.setattr(linger, "current_supervisor", lambda: SimpleNamespace(submit=submit))
    stage = Stage(forever)
    await stage.started()
    Linger(stage.run, 0.01).begin()
    async with asyncio.timeout(30):
        await asked.wait()
    with following._listening(stage.run.record.id):
        answer.set_result(None)
        await asyncio.sleep(0.01)
        assert not stage.run.signal.aborted
    assert (await stage.end()).abort_reason == "not resumed within 0.01 s"
