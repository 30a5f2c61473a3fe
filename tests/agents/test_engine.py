"""The engine's workers outlive whatever goes wrong in the engine. No model here: the engine below is a stand-in."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import xllamacpp

from gateway_project.agents.local import engine as engine_module
from gateway_project.agents.local.engine import Engine, EngineError

Receive = Callable[[str], bool]

DONE = '{"choices":[],"usage":{"completion_tokens":1}}'
IDLE = "llamacpp:requests_processing 0\nllamacpp:n_decode_total 7\n"
BUSY = "llamacpp:requests_processing 1\nllamacpp:n_decode_total 7\n"


class StandIn:
    """Answers as the engine does: chunks to a callback that may say stop, and metrics as text."""

    def __init__(self, params: object) -> None:
        self.metrics: Callable[[], str] = lambda: IDLE

    def handle_chat_completions(self, request: str, receive: Receive) -> None:
        said = json.loads(request)["messages"]
        while said == "for ever":
            if receive('{"choices":[1]}'):
                return
        receive(said)

    def handle_metrics(self) -> str:
        return self.metrics()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One slot, so that a lost worker is noticed at once."""
    monkeypatch.setattr(xllamacpp, "Server", StandIn)
    monkeypatch.setattr(engine_module, "STOP_SECONDS", 0.2)
    made = Engine(Path("none.gguf"))
    made.load()
    yield made
    made.close()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("gateway-engine")] == []


async def answer(engine: Engine, said: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(30), aclosing(engine.chat({"messages": said}, max_tokens=None)) as chunks:
        return [chunk async for chunk in chunks]


async def leave_early(engine: Engine) -> None:
    """Returns when the engine is done with the request, or its time is over."""
    async with asyncio.timeout(30), aclosing(engine.chat({"messages": "for ever"}, max_tokens=None)) as chunks:
        await anext(chunks)


@pytest.mark.parametrize("broken", ['{"error":cut off', '{"error":{"code":"no number"}}', '{"error":7}'])
async def test_an_answer_that_makes_no_sense_costs_one_run_and_no_slot(engine: Engine, broken: str) -> None:
    with pytest.raises(EngineError) as failed:
        await answer(engine, broken)
    assert failed.value.status == 500
    assert await answer(engine, DONE) == [json.loads(DONE)]


async def test_a_fault_of_our_own_costs_one_run_and_no_slot(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise LookupError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_wait_until_off_the_slot", fail)
        await leave_early(engine)
    assert await answer(engine, DONE) == [json.loads(DONE)]
    assert "engine.failed" in caplog.text


def fails() -> str:
    raise RuntimeError("no metrics")


@pytest.mark.parametrize("metrics", [fails, lambda: "", lambda: BUSY], ids=["raises", "missing", "stalls"])
async def test_an_engine_that_does_not_tell_holds_its_slot_for_a_bounded_time(
    engine: Engine, metrics: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    engine._server.metrics = metrics
    await leave_early(engine)
    engine._server.metrics = lambda: IDLE
    assert await answer(engine, DONE) == [json.loads(DONE)]
    assert "engine.not_off_the_slot" in caplog.text


async def test_metrics_that_come_back_are_believed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "STOP_SECONDS", 30)
    texts = iter(["", BUSY, "", BUSY.replace(" 7", " 8")])
    engine._server.metrics = lambda: next(texts)
    await leave_early(engine)
    assert list(texts) == []
    assert "engine.not_off_the_slot" not in caplog.text
