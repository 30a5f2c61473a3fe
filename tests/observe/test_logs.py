"""Log lines: one JSON object each, with the run they belong to."""

import asyncio
import io
import json
import logging
import sys
import uuid
from typing import Any

from gateway_project import ids
from gateway_project.observe.context import bind_run
from gateway_project.observe.logs import JSONFormatter, RunIdFilter, TurnHandler, TurnStream


def record(event: str = "run.ended", **more: Any) -> logging.LogRecord:
    """What a logger makes of an event and its `extra`."""
    extra = more.pop("extra", None)
    return logging.getLogger("gateway.test").makeRecord(
        "gateway.test", logging.INFO, __file__, 1, event, more.get("args", ()), more.get("exc_info"), extra=extra
    )


def line(made: logging.LogRecord) -> dict[str, Any]:
    """The line that stands in the log."""
    assert RunIdFilter().filter(made)
    text = JSONFormatter().format(made)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_the_event_and_what_was_said_about_it() -> None:
    found = line(record(extra={"runs": 3, "seconds": None}))
    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "INFO", "logger": "gateway.test", "event": "run.ended", "runs": 3}


def test_the_time_is_utc_with_microseconds() -> None:
    made = record()
    made.created = 1.5
    assert line(made)["time"] == "1970-01-01T00:00:01.500000+00:00"


def test_what_json_does_not_know_is_written_as_text() -> None:
    run_id = uuid.UUID(int=7)
    assert line(record(extra={"run_id": run_id, "path": "a\nb"}))["run_id"] == str(run_id)


def test_a_failure_brings_its_traceback_in_the_same_line() -> None:
    try:
        raise LookupError("first\nsecond")
    except LookupError:
        found = line(record(exc_info=sys.exc_info()))
    assert "LookupError: first\nsecond" in found["traceback"]


def test_old_fashioned_arguments_are_filled_in() -> None:
    assert line(record("%s of %s", args=(1, 2)))["event"] == "1 of 2"


def test_without_a_run_there_is_no_id() -> None:
    assert "run_id" not in line(record())


async def test_a_line_belongs_to_the_run_that_its_task_works_for() -> None:
    first, second = ids.new_run_id(), ids.new_run_id()

    async def work(run_id: uuid.UUID) -> list[str]:
        bind_run(run_id)
        await asyncio.sleep(0)
        below = asyncio.ensure_future(log())
        return [line(record())["run_id"], await below]

    async def log() -> str:
        said: str = line(record())["run_id"]
        return said

    said = await asyncio.gather(work(first), work(second))
    assert [set(ids_said) for ids_said in said] == [{str(first)}, {str(second)}]
    assert "run_id" not in line(record())


async def test_an_id_that_was_given_counts_more_than_the_tasks_own() -> None:
    bind_run(ids.new_run_id())
    other = ids.new_run_id()
    assert line(record(extra={"run_id": other}))["run_id"] == str(other)


class CountedWrites(io.StringIO):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str, /) -> int:
        self.writes.append(text)
        return len(text)


def test_outside_of_a_loop_a_line_is_written_at_once() -> None:
    stream = CountedWrites()
    handler = TurnHandler(stream)
    handler.handle(record("one"))
    handler.handle(record("two"))
    assert stream.writes == ["one\n", "two\n"]


def test_lines_of_one_turn_are_one_write_at_its_end() -> None:
    stream = CountedWrites()
    handler = TurnHandler(stream)

    async def work() -> None:
        for turn in ("first", "second"):
            handler.handle(record(turn))
            handler.handle(record("too"))
            written = len(stream.writes)
            await asyncio.sleep(0)
            assert len(stream.writes) == written + 1
        handler.handle(record("last"))

    asyncio.run(work())
    asyncio.run(work())  # a new loop: what the old one did not come to is not forgotten
    handler.flush()
    assert "".join(stream.writes).split() == ["first", "too", "second", "too", "last"] * 2
    assert stream.writes[:2] == ["first\ntoo\n", "second\ntoo\n"]


async def test_an_error_is_written_at_once_with_all_before_it() -> None:
    stream = CountedWrites()
    handler = TurnHandler(stream)
    handler.handle(record("before"))
    error = record("error")
    error.levelno = logging.ERROR
    handler.handle(error)
    assert stream.writes == ["before\nerror\n"]


async def test_a_stream_is_written_to_once_a_turn() -> None:
    below = CountedWrites()
    stream = TurnStream(below)
    for turn in ("first", "second"):
        stream.write(f"{turn}\n")
        stream.write("too\n")
        await asyncio.sleep(0)
    assert below.writes == ["first\ntoo\n", "second\ntoo\n"]
    stream.write("last\n")
    stream.flush()
    assert below.writes[-1] == "last\n"
