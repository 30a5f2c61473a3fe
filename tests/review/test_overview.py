"""The overview: for whom, what it says, what it costs."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError, connection
from django.db.models import Max
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from gateway_project import clock
from gateway_project.review.admin.ranges import RANGES
from gateway_project.review.models import RolledHour
from gateway_project.review.rollups import keep_up
from gateway_project.runs.models import Run
from gateway_project.runs.seals.triggers import maintenance
from tests.review.conftest import MakeRun, MakeUser

RUNS = "/admin/gateway_runs/run/"
OVERVIEW = "/admin/gateway_runs/overview/"


def page(client: Client, query: str = "") -> Any:
    response = client.get(OVERVIEW + query)
    assert response.status_code == 200, response
    return response


def text_of(response: Any) -> str:
    text: str = response.content.decode()
    return " ".join(text.split())


def test_it_is_the_first_thing_of_the_app(admin_client: Client) -> None:
    for address in ("/admin/", "/admin/gateway_runs/"):
        app = next(app for app in admin_client.get(address).context["app_list"] if app["app_label"] == "gateway_runs")
        assert app["models"][0]["name"] == "Overview"
        assert app["models"][0]["admin_url"] == OVERVIEW


@pytest.mark.parametrize("given", [(), ("view_run",), ("view_overview",)])
def test_who_may_not_see_all_runs_sees_neither_page_nor_entry(
    as_user: MakeUser, make_run: MakeRun, given: tuple[str, ...]
) -> None:
    make_run()
    client = as_user(*given)
    assert client.get(OVERVIEW).status_code == 403
    assert "Overview" not in client.get("/admin/").content.decode()


def test_who_may_see_all_runs_sees_it(as_user: MakeUser) -> None:
    client = as_user("view_run", "view_overview")
    assert "Overview" in client.get("/admin/").content.decode()
    page(client)


def test_there_is_nothing_to_add_open_or_change(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run()
    for address in ("add/", f"{run.pk}/change/", f"{run.pk}/delete/", f"{run.pk}/history/"):
        assert admin_client.get(OVERVIEW + address).status_code == 404


def test_it_says_how_runs_ended_and_what_is_running(admin_client: Client, one_of_each: dict[str, Run]) -> None:
    make_more = one_of_each["completed"]
    with maintenance(connection):
        Run.objects.filter(pk=make_more.pk).update(delivered=False)
    response = page(admin_client)
    text = text_of(response)
    figures = response.context["figures"]
    assert figures.total == len(one_of_each)
    assert (figures.unresponsive, figures.undelivered) == (1, 1)
    assert figures.aborts == {("client_disconnect", "streaming"): 2}
    assert "Running now: 1" in text
    assert f"/admin/gateway_runs/run/{one_of_each['running'].pk}/change/" in text
    for shown in ("Client disconnected", "Output under way", "upper bound of a bucket", "It is an estimate"):
        assert shown in text
    assert response.context["percentiles"] == [
        ("median", "≤ 1 ms"),
        ("95th percentile", "> 60 s or never"),
        ("99th percentile", "> 60 s or never"),
    ]


def test_each_number_leads_to_the_runs_that_it_counts(admin_client: Client, one_of_each: dict[str, Run]) -> None:
    context = page(admin_client).context
    _, cells, total, _ = context["abort_rows"][0]
    _, step_url, counts, step_total = context["steps"][0]
    during = f"{context['list_url']}?{context['counted']}"
    for url, expected in ((total.url, 2), (cells[0].url, 2), (f"{during}&question=unresponsive", 1), (during, 6)):
        assert admin_client.get(url).context["cl"].result_count == expected
    assert admin_client.get(step_url).context["cl"].result_count == step_total == sum(counts)


def links_of(client: Client, query: str) -> dict[str, tuple[int, int]]:
    """Each link to the list: the number that bears it, and how many runs it leads to."""
    text = text_of(page(client, query))
    found = re.findall(r'<a href="/admin/gateway_runs/run/(\?[^"]*since=[^"]*)">([\d,]+)</a>', text)
    steps = page(client, query).context["steps"]
    pairs = [(unescape(url), int(number)) for url, number in found]
    pairs += [(url.partition("/run/")[2], total) for _, url, _, total in steps]
    return {url: (number, client.get(f"{RUNS}{url}").context["cl"].result_count) for url, number in pairs}


def test_a_link_keeps_the_agent(admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now().replace(minute=30)
    monkeypatch.setattr(clock, "now", lambda: now)
    for agent, times in (("two", 1), ("scripted", 2)):
        for kind in ["unresponsive", "completed"] * times:
            make_run(kind, agent=agent, delivered=False)
    links = links_of(admin_client, "?agent=two")
    assert sorted(links.values()) == [(1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (2, 2)]


@pytest.mark.parametrize("query", ["range=24h", "range=7d", "range=30d"])
def test_links_have_the_runs_that_were_counted_at_the_beginning_of_a_range(
    admin_client: Client, make_run: MakeRun, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now().replace(hour=10, minute=30)
    monkeypatch.setattr(clock, "now", lambda: now)
    since = now - RANGES[query.partition("=")[2]][1]
    for minutes in range(-2000, 200, 7):
        make_run(received_at=since + timedelta(minutes=minutes))
    links = links_of(admin_client, f"?{query}")
    assert links
    assert [url for url, (counted, listed) in links.items() if counted != listed] == []


@pytest.mark.parametrize("days", [1, 5, 10, 40])
def test_links_have_the_runs_that_were_counted_at_the_end_of_a_range(
    admin_client: Client, make_run: MakeRun, days: int
) -> None:
    until = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)
    for minutes in range(-200, 1000, 7):
        make_run(received_at=until + timedelta(minutes=minutes))
    since = until - timedelta(days=days)
    query = urlencode({"range": "custom", "since": since.isoformat(), "until": until.isoformat()})
    for _ in range(10):  # A page counts for a moment only.
        if not page(admin_client, f"?{query}").context["hours_left"]:
            break
    links = links_of(admin_client, f"?{query}")
    assert links
    assert [url for url, (counted, listed) in links.items() if counted != listed] == []
    last = page(admin_client, f"?{query}").context["figures"].until
    assert last == (until.replace(hour=11, minute=0) if days < 40 else until.replace(day=6, hour=0, minute=0))


def test_without_any_run_it_says_so(admin_client: Client) -> None:
    text = text_of(page(admin_client))
    assert "No run is queued or running." in text
    assert "No runs in this time." in text


@pytest.mark.parametrize(
    ("query", "total"),
    [("", 1), ("?range=24h", 1), ("?range=7d", 2), ("?range=30d", 3), ("?range=nonsense", 1), ("?range=7d&agent=x", 0)],
)
def test_the_range_and_the_agent_can_be_picked(admin_client: Client, make_run: MakeRun, query: str, total: int) -> None:
    for days in (0.1, 3, 20, 40):
        make_run(ago=timedelta(days=days).total_seconds())
    response = page(admin_client, query)
    assert response.context["figures"].total == total
    assert text_of(response).count('aria-current="true"') == 2


def test_a_range_of_ones_own(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(ago=timedelta(days=40).total_seconds())
    make_run()
    day = f"{run.received_at:%Y-%m-%d}"
    response = page(admin_client, f"?range=custom&since={day}&until={day}")
    assert response.context["figures"].total == 1
    assert f'value="{day}"' in text_of(response)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("since=yesterday", "no date or time in ISO 8601"),
        ("since=2026-02-01&until=2026-01-01", "must begin before it ends"),
        ("since=2025-01-01&until=2026-01-01", "At most 92 days"),
        ("since=", "This field is required"),
    ],
)
def test_a_range_that_is_none_is_said_to_be_none(admin_client: Client, query: str, complaint: str) -> None:
    assert complaint in text_of(page(admin_client, f"?range=custom&{query}"))


def test_no_query_but_the_open_runs_and_the_oldest_sees_the_runs(
    admin_client: Client, make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for kind in ("completed", "aborted", "running"):
        make_run(kind)
    keep_up(clock.now() - timedelta(hours=2), clock.now())
    # session, user, oldest, due hours, open runs, when counted; chart, kinds, latencies
    with django_assert_num_queries(10), CaptureQueriesContext(connection) as queries:
        page(admin_client)
    of_runs = [query["sql"] for query in queries if '"gateway_run"' in query["sql"]]
    assert len(of_runs) == 2


def test_what_is_not_counted_yet_is_said(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now().replace(minute=30)
    monkeypatch.setattr(clock, "now", lambda: now)
    make_run(ago=5 * 3600)

    def busy(*_: object, **__: object) -> int:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr("gateway_project.review.admin.overview.keep_up", busy)
        text = text_of(page(admin_client))
    assert "6 hours of this time are not counted yet" in text
    assert "not counted yet" not in text_of(page(admin_client))


def test_text_from_outside_is_escaped(admin_client: Client, make_run: MakeRun) -> None:
    evil = "<script>alert(1)</script>"
    make_run("aborted", agent=evil)
    make_run("running", agent=evil, principal_label=evil)
    assert evil not in text_of(page(admin_client, f"?agent={evil}"))
    assert evil not in text_of(page(admin_client))


def test_times_are_utc_wherever_the_shop_is(admin_client: Client, make_run: MakeRun, settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    run = make_run("running")
    text = text_of(page(admin_client))
    counted_at = RolledHour.objects.aggregate(at=Max("rolled_at"))["at"]
    assert f"since {run.received_at:%Y-%m-%d %H:%M:%S} UTC" in text
    assert f"counted {counted_at:%Y-%m-%d %H:%M:%S} UTC" in text


# -- live ---------------------------------------------------------------------------------------------


def again(client: Client, address: str, etag: str) -> Any:
    return client.get(address, headers={"If-None-Match": etag})


def test_the_overview_answers_304_until_a_run_begins_or_ends(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("running")
    etag = page(admin_client)["ETag"]
    assert again(admin_client, OVERVIEW, etag).status_code == 304
    Run.objects.filter(pk=run.pk).update(abort_requested_at=clock.now())
    assert again(admin_client, OVERVIEW, etag).status_code == 200


def test_a_304_reads_no_figures(
    admin_client: Client, make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_run("running")
    etag = page(admin_client)["ETag"]
    with django_assert_num_queries(7):
        again(admin_client, OVERVIEW, etag)


@pytest.mark.parametrize(
    "change",
    [{"abort_requested_at": clock.now()}, {"status": "completed"}, {"finished_at": clock.now()}],
    ids=["cancelled", "ended", "finished"],
)
@pytest.mark.parametrize("address", ["/admin/gateway_runs/run/{}/change/", "/admin/gateway_runs/run/?question=running"])
def test_a_running_run_and_the_list_of_them_answer_304_until_something_happens(
    admin_client: Client, make_run: MakeRun, address: str, change: dict[str, Any]
) -> None:
    run = make_run("running")
    address = address.format(run.pk)
    etag = admin_client.get(address)["ETag"]
    assert again(admin_client, address, etag).status_code == 304
    Run.objects.filter(pk=run.pk).update(**change)
    if "finished_at" in change and "question" in address:
        return  # not shown there
    assert again(admin_client, address, etag).status_code == 200


def test_an_etag_of_one_person_is_none_of_another(as_user: MakeUser, make_run: MakeRun) -> None:
    address = f"/admin/gateway_runs/run/{make_run('running').pk}/change/"
    etag = as_user("view_run").get(address)["ETag"]
    assert again(as_user("view_run", name="otto"), address, etag).status_code == 200
    assert again(as_user(name="eve"), address, etag).status_code == 403


@pytest.mark.parametrize(("kind", "is_live"), [("running", True), ("completed", False), ("aborted", False)])
def test_a_run_asks_for_itself_only_while_it_is_open(
    admin_client: Client, make_run: MakeRun, kind: str, is_live: bool
) -> None:
    text = admin_client.get(f"/admin/gateway_runs/run/{make_run(kind).pk}/change/").content.decode()
    assert ("data-gw-open" in text) is is_live


@pytest.mark.parametrize(("query", "is_live"), [("?question=running", True), ("", False), ("?question=failed", False)])
def test_only_the_list_of_open_runs_asks_for_itself(
    admin_client: Client, make_run: MakeRun, query: str, is_live: bool
) -> None:
    make_run("running")
    text = admin_client.get(f"/admin/gateway_runs/run/{query}").content.decode()
    assert ("data-gw-open" in text) is is_live
