"""Exporting runs: the keys that scripts rely on, nothing lost, nothing that a spreadsheet runs."""

import csv
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import DjangoAssertNumQueries

from gateway_project import clock
from gateway_project.review.export import as_csv, as_jsonl, harmless, run_as_dict, runs_in_order
from gateway_project.review.paging import Selection
from gateway_project.runs.models import Run
from tests.review.conftest import KINDS, MakeRun

AT = datetime(2026, 11, 20, 14, 3, 22, 120000, tzinfo=UTC)
PROMISED = {
    *("id", "status", "endpoint", "agent", "model", "streaming", "principal", "abort_cause", "abort_phase"),
    *("abort_outcome", "received_at", "started_at", "first_output_at", "abort_requested_at", "settled_at"),
    *("finished_at", "delivered", "events_sent", "bytes_sent", "tokens_sent", "usage"),
}
NOT_EXPORTED = {"user_agent", "parameters", "seal", "salts", "commitments"}


def exported(*arguments: str) -> str:
    out = StringIO()
    call_command("exportruns", *arguments, stdout=out)
    return out.getvalue()


def everything() -> Selection:
    return Selection(Run.objects.all(), {}, until=clock.now())


def test_the_promised_keys_are_there_for_every_kind_of_run() -> None:
    for kind in KINDS.values():
        assert run_as_dict(Run(**kind(AT))).keys() >= PROMISED


def test_no_column_of_the_record_is_forgotten() -> None:
    values = {field.name: f"<{field.name}>" for field in Run._meta.fields if field.get_internal_type() == "CharField"}
    text = json.dumps(run_as_dict(Run(received_at=AT, **values)))
    assert [name for name in values if f"<{name}>" not in text] == ["user_agent"]
    others = {field.name for field in Run._meta.fields} - values.keys() - NOT_EXPORTED
    assert others <= run_as_dict(Run(**KINDS["completed"](AT))).keys() | {
        *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
    }


def test_times_are_utc_with_microseconds_and_what_is_absent_is_null() -> None:
    shown = run_as_dict(Run(**KINDS["aborted"](AT)))
    assert shown["received_at"] == "2026-11-20T14:03:22.120000+00:00"
    assert shown["settled_at"] == "2026-11-20T14:03:22.620400+00:00"
    assert shown["usage"] == {
        "input_tokens": 12,
        "output_tokens": 3,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "source": "estimated",
    }
    assert shown["error"] is None
    refused = run_as_dict(Run(**KINDS["rejected"](AT)))
    assert (refused["usage"], refused["agent"], refused["started_at"], refused["delivered"]) == (None, None, None, None)
    assert refused["error"] == {
        "code": "model_not_found",
        "type": None,
        "message": "There is no model 'nobody'.",
    }


def test_jsonl_is_an_object_a_line_the_oldest_first(make_run: MakeRun) -> None:
    runs = [make_run(ago=30), make_run("aborted", ago=20, principal_label="Größe \u2028\n"), make_run("failed", ago=10)]
    lines = exported("--format", "jsonl").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [run_as_dict(run) for run in runs]


def test_csv_spreads_usage_and_error_over_columns(make_run: MakeRun) -> None:
    make_run("failed", streaming=True, events_sent=0, output_tokens=0)
    text = exported("--format", "csv")
    assert text.count("\r\n") == 2
    [row] = csv.DictReader(StringIO(text, newline=""))
    assert row.keys() >= (PROMISED - {"usage"}) | {"usage_input_tokens", "usage_source", "error_code", "error_message"}
    assert (row["streaming"], row["events_sent"], row["usage_output_tokens"]) == ("true", "0", "0")
    assert (row["error_code"], row["abort_cause"]) == ("upstream_down", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])  # noqa: RUF001 (meant)
def test_no_cell_begins_as_a_formula(start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    lines = "".join(as_csv([Run(**KINDS["aborted"](AT) | {"abort_reason": evil, "principal_label": evil})]))
    [row] = csv.DictReader(StringIO(lines, newline=""))
    assert row["abort_reason"] == row["principal"] == f"'{evil}"


def test_harmless_text_and_numbers_stay_as_they_are() -> None:
    values: list[Any] = ["shop", "a=b", "", None, 0, -1]
    assert [harmless(value) for value in values] == values


def test_batches_lose_and_repeat_nothing_even_among_equal_times(make_run: MakeRun) -> None:
    at = AT - timedelta(days=1)
    runs = {make_run(received_at=at).pk for _ in range(7)} | {make_run(received_at=AT).pk for _ in range(3)}
    found = [run.pk for run in runs_in_order(everything(), batch=3)]
    assert len(found) == 10
    assert set(found) == runs
    assert found == [run.pk for run in Run.objects.order_by("received_at", "pk")]


def test_a_batch_is_one_query(make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for _ in range(5):
        make_run(parameters={"seed": 1})
    with django_assert_num_queries(3):
        assert len(list(as_jsonl(runs_in_order(everything(), batch=2)))) == 5


def test_since_takes_a_time_or_a_date(make_run: MakeRun) -> None:
    for hours in (0, 10, 20):
        make_run(received_at=AT + timedelta(hours=hours))
    for since, count in (
        ("2026-11-20", 3),
        ("2026-11-21", 2),
        ("2026-11-20T14:03:22.120000+00:00", 3),
        ("2026-11-20T14:03:22.120001", 2),
        ("2026-11-21T12:00:00+02:00", 1),
    ):
        assert len(exported("--since", since).splitlines()) == count, since
    with pytest.raises(CommandError, match="no date or time"):
        exported("--since", "yesterday")


def test_runs_that_arrive_while_it_is_read_are_left_for_the_next_time(make_run: MakeRun) -> None:
    make_run(ago=5)
    reading = runs_in_order(everything(), batch=1)
    next(reading)
    make_run(ago=-1)
    assert list(reading) == []


def test_an_open_run_is_exported_as_it_is(make_run: MakeRun) -> None:
    make_run("running")
    shown = json.loads(exported())
    assert (shown["status"], shown["finished_at"], shown["usage"]) == ("running", None, None)
