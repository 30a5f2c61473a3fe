"""Exports as downloads: from the list and the API, what is filtered and no more, made while they are sent."""

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from weakref import WeakSet

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from gateway_project import clock, ids
from gateway_project.access.models import APIKey
from gateway_project.review import download as downloads
from gateway_project.review.download import in_thread, pieces_of
from gateway_project.review.export import as_csv, as_jsonl, run_as_dict, runs_in_order
from gateway_project.review.models import AccessRecord
from gateway_project.review.paging import Position
from gateway_project.runs.models import Run
from tests.review.conftest import KINDS, MakeRun, MakeUser

LIST = "/admin/gateway_runs/run/"
API = "/api/runs/export"


def text_of(reply: Any) -> str:
    assert reply.status_code == 200
    return b"".join(reply).decode()


def test_the_list_offers_what_it_shows_as_a_file(admin_client: Client, one_of_each: dict[str, Run]) -> None:
    page = admin_client.get(f"{LIST}?status=aborted&q=shop&p=1")
    links = dict(page.context["exports"])
    assert links["Export CSV"].replace("&", "&amp;") in page.content.decode()
    reply = admin_client.get(links["Export CSV"])
    assert reply["Content-Type"] == "text/csv; charset=utf-8"
    assert reply["Content-Disposition"].startswith('attachment; filename="runs-')
    rows = list(csv.DictReader(StringIO(text_of(reply), newline="")))
    assert [row["id"] for row in rows] == [str(one_of_each[kind].pk) for kind in ("unresponsive", "aborted")]
    lines = text_of(admin_client.get(links["Export JSON lines"])).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in rows]


def test_an_export_of_the_list_needs_a_format(admin_client: Client) -> None:
    for query in ("", "?format=xls"):
        assert admin_client.get(f"{LIST}export/{query}").status_code == 400


def test_an_export_of_the_list_has_its_time_range_too(admin_client: Client, make_run: MakeRun) -> None:
    day = clock.parse_moment("2026-03-02", end_of_day=False)
    runs = [make_run(received_at=day + timedelta(hours=hours)) for hours in (-1, 0, 23, 24)]
    links = dict(admin_client.get(f"{LIST}?since=2026-03-02&until=2026-03-02").context["exports"])
    lines = text_of(admin_client.get(links["Export JSON lines"])).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(run.pk) for run in runs[1:3]]
    refused = admin_client.get(f"{LIST}export/?format=csv&since=<b>")
    assert (refused.status_code, refused["Content-Type"]) == (400, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("sttaus=failed", "There is no such parameter: 'sttaus'."),
        ("status__exact=failed", "There is no such parameter: 'status__exact'."),
        ("question=unresponsiv", "There is no such question: 'unresponsiv'."),
        ("period=25h", "There is no such period: '25h'."),
        ("status=faild", "There is no such status: 'faild'."),
        ("status=%00", "There is no such status: '\\x00'."),
        ("streaming=maybe", "There is no such streaming: 'maybe'."),
    ],
)
def test_a_misspelt_filter_exports_nothing_and_says_so(
    admin_client: Client, one_of_each: dict[str, Run], query: str, complaint: str
) -> None:
    reply = admin_client.get(f"{LIST}export/?format=csv&{query}")
    assert (reply.status_code, reply.content.decode()) == (400, complaint)
    assert not AccessRecord.objects.exists()


def test_what_says_how_a_list_is_shown_is_none_of_its_files(admin_client: Client, one_of_each: dict[str, Run]) -> None:
    links = dict(admin_client.get(f"{LIST}?status=failed&all=&o=1&e=1").context["exports"])
    assert links["Export CSV"] == f"{LIST}export/?status=failed&format=csv"


def test_who_may_not_view_runs_exports_none(as_user: MakeUser, one_of_each: dict[str, Run]) -> None:
    reply = as_user("cancel_run").get(f"{LIST}export/?format=csv")
    assert reply.status_code == 403
    assert "shop" not in reply.content.decode()


def test_the_api_exports_what_is_asked(operator: Client, one_of_each: dict[str, Run]) -> None:
    reply = operator.get(f"{API}?question=client-gone")
    assert reply["Content-Type"] == "application/x-ndjson"
    expected = [run_as_dict(one_of_each[kind]) for kind in ("unresponsive", "aborted")]
    assert [json.loads(line) for line in text_of(reply).splitlines()] == expected
    evil = Run.objects.create(**KINDS["failed"](one_of_each["failed"].received_at) | {"error_message": "=cmd()"})
    [row] = csv.DictReader(StringIO(text_of(operator.get(f"{API}?format=csv&q={evil.pk}")), newline=""))
    assert row["error_message"] == "'=cmd()"


def test_an_export_of_nothing_is_an_empty_file_or_a_header(operator: Client) -> None:
    assert text_of(operator.get(API)) == ""
    assert text_of(operator.get(f"{API}?format=csv")) == "".join(as_csv([]))


def test_the_command_takes_the_filters_too(one_of_each: dict[str, Run]) -> None:
    def exported(*arguments: str) -> list[str]:
        out = StringIO()
        call_command("exportruns", *arguments, stdout=out)
        return [json.loads(line)["id"] for line in out.getvalue().splitlines()]

    failed = str(one_of_each["failed"].pk)
    assert exported("--question", "failed", "--principal", "shop") == [failed]
    assert exported("--search", failed) == [failed]
    assert exported("--until", "2020-01-01") == []
    with pytest.raises(CommandError, match="invalid choice"):
        exported("--status", "nonsense")


@pytest.mark.django_db(transaction=True)
async def test_under_asgi_no_plain_iterator_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django would read such a one to its end first."""
    monkeypatch.setattr(downloads, "BATCH", 2)
    for _ in range(5):
        await Run.objects.acreate(**KINDS["completed"](clock.now()))
    _, text = await sync_to_async(APIKey.objects.create_key)("ops", operate=True)
    reply: Any = await AsyncClient().get(API, headers={"Authorization": f"Bearer {text}"})
    assert isinstance(reply, StreamingHttpResponse)
    assert reply.is_async
    pieces = [piece async for piece in reply]
    assert len(b"".join(pieces).splitlines()) == 5


class ManyRuns:
    """So many failed runs, without a database; it knows which of them are still in memory."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.alive: WeakSet[Run] = WeakSet()
        self._fields = KINDS["failed"](clock.now())

    def batches(self, *, size: int) -> Iterator[list[Run]]:
        while self.left > 0:
            self.left -= size
            found = [Run(id=ids.new_run_id(), **self._fields) for _ in range(size)]
            self.alive.update(found)
            yield found


@pytest.mark.parametrize("write", [as_jsonl, as_csv])
async def test_it_is_made_while_it_is_read_in_constant_memory(write: Any) -> None:
    source: Any = ManyRuns(5_000)
    lines = 0
    async for piece in in_thread(pieces_of(write(runs_in_order(source, batch=100)), count=100)):
        lines += piece.count("\n")
        assert lines >= 5_000 - source.left - 100, "no more is read than was sent"
        assert len(source.alive) <= 200
    assert lines == 5_000 + (write is as_csv)


def test_a_cursor_is_read_as_it_was_written() -> None:
    position = Position(clock.now(), ids.new_run_id())
    assert Position.parse(str(position)) == position
