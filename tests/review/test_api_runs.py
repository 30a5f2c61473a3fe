"""The runs in the operators' API: what the list finds, how one pages through it, what a run shows, what it costs."""

import json
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from gateway_project import clock, ids
from gateway_project.access.models import APIKey
from gateway_project.review import paging
from gateway_project.review.export import run_as_dict
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.seals.triggers import maintenance
from gateway_project.runs.vocabulary import NoteKind
from tests.review.conftest import MakeRun

LIST = "/api/runs/"


def ids_of(reply: Any) -> list[str]:
    assert reply.status_code == 200, reply.content
    return [run["id"] for run in reply.json()["results"]]


def all_pages(operator: Client, address: str) -> list[list[str]]:
    """The ids on each page, as a client that follows `next` sees them."""
    pages = []
    following: str | None = address
    while following is not None:
        reply = operator.get(following)
        pages.append(ids_of(reply))
        following = reply.json()["next"]
        assert len(pages) < 50
    return pages


def test_the_newest_come_first_under_the_keys_of_the_export(operator: Client, one_of_each: dict[str, Run]) -> None:
    reply = operator.get(LIST)
    assert reply.json() == {"next": None, "results": [run_as_dict(run) for run in one_of_each.values()]}
    assert reply["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("question=running", {"running"}),
        ("question=client-gone", {"aborted", "unresponsive"}),
        ("question=slow-abort", {"unresponsive"}),
        ("question=undelivered&status=aborted", {"aborted", "unresponsive"}),
        ("question=failed&principal=shop", {"failed"}),
        ("abort_outcome=stopped", {"aborted"}),
        ("abort_cause=client_disconnect&abort_phase=streaming", {"aborted", "unresponsive"}),
        ("agent=scripted&status=completed", {"completed"}),
        ("key=1&question=failed", {"failed"}),
        ("q=night-batch", {"running"}),
        ("model=slow-100x100ms&period=1h", {"running"}),
        ("principal=nobody", set()),
        ("parent_run=nonsense", set()),
        ("parent_run=nonsense&question=failed", set()),
    ],
)
def test_it_answers_the_questions_of_the_admin(
    operator: Client, admin_client: Client, one_of_each: dict[str, Run], query: str, kinds: set[str]
) -> None:
    expected = {str(one_of_each[kind].pk) for kind in kinds}
    assert set(ids_of(operator.get(f"{LIST}?{query}"))) == expected
    listed = admin_client.get(f"/admin/gateway_runs/run/?{query}").context["cl"].result_list
    assert {str(run.pk) for run in listed} == expected


def test_it_answers_what_the_admin_is_not_asked(operator: Client, one_of_each: dict[str, Run]) -> None:
    assert ids_of(operator.get(f"{LIST}?endpoint=responses&streaming=yes")) == [str(one_of_each["running"].pk)]
    assert ids_of(operator.get(f"{LIST}?parent_run=nonsense&streaming=no&question=failed")) == []


def test_a_time_range_has_both_ends_and_a_date_alone_is_the_whole_day(operator: Client, make_run: MakeRun) -> None:
    day = clock.parse_moment("2026-11-20T00:00:00", end_of_day=False)
    runs = [make_run(received_at=day + timedelta(hours=hours)) for hours in (-1, 0, 23, 24)]
    assert ids_of(operator.get(f"{LIST}?since=2026-11-20&until=2026-11-20")) == [str(runs[2].pk), str(runs[1].pk)]
    assert ids_of(operator.get(f"{LIST}?since=2026-11-20T23:00:00%2B01:00&until=2026-11-20T23:00:00Z")) == [
        str(runs[2].pk)
    ]


def test_search_takes_an_id_in_every_spelling(operator: Client, make_run: MakeRun) -> None:
    run, _other = make_run(client_request_id="theirs-1"), make_run()
    for term in (run.pk, ids.chat_completion_id(run.pk), ids.response_id(run.pk), "theirs"):
        assert ids_of(operator.get(f"{LIST}?q={term}")) == [str(run.pk)]


def test_search_takes_a_label_exactly(operator: Client, make_run: MakeRun) -> None:
    called = {"user": "alice", "metadata": {"order": "4711", "a:b": "c:d"}, "prompt_cache_key": "nightly"}
    run = make_run(parameters=called)
    make_run(parameters={"user": "alice b", "metadata": {"order": "471"}, "safety_identifier": "alice"})
    for term in ("user:alice", "metadata.order:4711", "metadata.a:b:c:d", "prompt_cache_key:nightly"):
        assert ids_of(operator.get(LIST, {"q": term})) == [str(run.pk)]
        assert ids_of(operator.get(LIST, {"q": term, "status": "failed"})) == []
    for term in ("user:alic", "user:", "alice", "metadata.order:", "prompt_cache_key:alice", "temperature:1"):
        assert ids_of(operator.get(LIST, {"q": term})) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=nonsense", "status"),
        ("stauts=failed", "stauts"),
        ("since=yesterday", "since"),
        ("cursor=1", "cursor"),
        ("cursor=" + "9" * 17 + "-" + "0" * 31, "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("agent=%00", "agent"),
        ("question=", "question"),
    ],
)
def test_what_is_wrong_in_the_address_is_said_and_never_ignored(operator: Client, query: str, param: str) -> None:
    reply = operator.get(f"{LIST}?{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("query", ["", "&question=undelivered", "&status=aborted", "&streaming=no"])
def test_following_next_shows_each_run_once_even_among_equal_times(
    operator: Client, make_run: MakeRun, query: str
) -> None:
    at = clock.now() - timedelta(hours=1)
    for _ in range(5):
        make_run("aborted", received_at=at)
    for seconds in range(4):
        make_run("aborted", received_at=at + timedelta(seconds=seconds))
    pages = all_pages(operator, f"{LIST}?limit=2{query}")
    assert [len(page) for page in pages] == [2, 2, 2, 2, 1]
    assert list(chain(*pages)) == [str(run.pk) for run in Run.objects.newest_first()]


def test_a_new_run_does_not_shift_the_pages(operator: Client, make_run: MakeRun) -> None:
    runs = [make_run(ago=ago) for ago in (10, 20, 30)]
    first = operator.get(f"{LIST}?limit=2").json()
    make_run(ago=1)
    assert [run["id"] for run in first["results"]] == [str(run.pk) for run in runs[:2]]
    assert ids_of(operator.get(first["next"])) == [str(runs[2].pk)]


def test_what_no_index_has_is_looked_for_among_so_many_runs_at_a_time(
    operator: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 3)
    at = clock.now() - timedelta(hours=1)
    found = {str(make_run(streaming=True, received_at=at).pk)}
    for minutes in range(1, 8):
        make_run(received_at=at + timedelta(minutes=minutes))
    pages = all_pages(operator, f"{LIST}?streaming=yes")
    assert pages[:2] == [[], []], "a window without any"
    assert set(chain(*pages)) == found
    assert set(chain(*all_pages(operator, f"{LIST}?status=completed&limit=200"))) > found, "an index leads: no window"


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("question=undelivered", {"delivered": False}),
        ("abort_cause=shutdown", {"abort_cause": "shutdown"}),
        ("abort_phase=preparing", {"abort_phase": "preparing"}),
        ("endpoint=responses_compact", {"endpoint": "responses_compact"}),
        ("agent=retired", {"agent": "retired"}),
        ("key=77", {"principal_kind": "api_key", "principal_id": "77"}),
        ("model=rare", {"model": "rare"}),
        ("client_address=10.0.0.7", {"client_address": "10.0.0.7"}),
        ("worker=gone", {"worker": "gone"}),
        (f"parent_run=resp_{7:032x}", {"parent_run": UUID(int=7)}),
    ],
)
def test_what_an_index_has_is_on_the_first_page(
    operator: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, query: str, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 3)
    run = make_run(ago=60, **fields)
    for ago in range(8):
        make_run(ago=ago)
    assert all_pages(operator, f"{LIST}?{query}") == [[str(run.pk)]]


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_windows_lose_and_repeat_nothing_even_where_equal_times_are_cut(
    operator: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 3)
    at = clock.now() - timedelta(hours=1)
    for number in range(12):
        make_run(streaming=bool(number % 3), received_at=at + timedelta(seconds=number // 5))
    streamed = [str(run.pk) for run in Run.objects.filter(streaming=True).newest_first()]
    pages = all_pages(operator, f"{LIST}?streaming=yes&limit={at_once}")
    assert list(chain(*pages)) == streamed
    lines = b"".join(operator.get(f"{LIST}export?streaming=yes")).splitlines()
    assert [json.loads(line)["id"] for line in lines] == streamed[::-1]


def test_no_page_counts_or_skips_and_the_number_of_queries_is_fixed(
    operator: Client, make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        make_run("aborted")
    cursor = operator.get(f"{LIST}?limit=2").json()["next"]
    for address, queries in ((LIST, 5), (cursor, 5), (f"{LIST}?abort_outcome=stopped&period=1h", 6)):
        with django_assert_num_queries(queries):  # key, page; whether the look is known, the look; a savepoint
            operator.get(address)
    with CaptureQueriesContext(connection) as captured:
        operator.get(f"{LIST}?streaming=no&limit=2")
    key, window, page, *_ = [query["sql"] for query in captured]
    assert "gateway_api_key" in key
    assert f"LIMIT {paging.WINDOW}" in window, "counted within a window"
    assert "COUNT" not in page
    assert not any("OFFSET" in query["sql"] or "DISTINCT" in query["sql"] for query in captured)


def test_a_run_is_shown_with_its_timeline(
    operator: Client, one_of_each: dict[str, Run], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = one_of_each["unresponsive"]
    with maintenance(connection):
        Run.objects.filter(pk=run.pk).update(parameters={"seed": 7}, abort_requested_by="nina", user_agent="curl")
    run.refresh_from_db()
    with django_assert_num_queries(7):  # key, run, notes; the look in a savepoint
        shown = operator.get(f"{LIST}{ids.chat_completion_id(run.pk)}").json()
    timeline = shown.pop("timeline")
    assert shown == run_as_dict(run) | {
        "wire_id": ids.chat_completion_id(run.pk),
        "user_agent": "curl",
        "parameters": {"seed": 7},
    }
    assert [(event["event"], event["offset_ms"]) for event in timeline] == [
        ("received", 0),
        ("started", 2),
        ("first_output", 100),
        ("abort_requested", 500),
        ("finished", 1000),
        ("late_end", 8500),
    ]
    assert timeline[3]["by"] == "nina"
    assert timeline[-1]["text"] == "the agent ended after its grace period"


def test_a_runs_notes_are_bounded(operator: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway_project.review.api import runs

    monkeypatch.setattr(runs, "MOST_NOTES", 2)
    run = make_run("running")
    RunNote.objects.bulk_create(RunNote(run=run, at=clock.now(), kind=NoteKind.TOOL) for _ in range(5))
    timeline = operator.get(f"{LIST}{run.pk}").json()["timeline"]
    assert [event["event"] for event in timeline].count("tool") == 2


def test_a_cancel_costs_a_fixed_number_of_queries(
    operator: Client, make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = make_run("running")
    with django_assert_num_queries(5):  # key, whether it may be seen, and the wish in a transaction
        reply = operator.post(f"{LIST}{run.pk}/cancel", json.dumps({"reason": "why"}), content_type="text/plain")
    assert reply.status_code == 202, "the media type does not matter"


def test_the_use_of_a_key_is_noted(client: Client, make_run: MakeRun) -> None:
    key, text = APIKey.objects.create_key("ops", operate=True)
    client.get(LIST, headers={"Authorization": f"Bearer {text}"})
    key.refresh_from_db()
    assert key.last_used_at is not None


def test_a_form_in_parts_from_a_session_is_refused(client: Client, make_run: MakeRun, admin_user: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    reply = browser.post(f"{LIST}{make_run('running').pk}/cancel", {"csrfmiddlewaretoken": token, "reason": "x"})
    assert reply.status_code == 400


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_without_the_database_it_says_so(operator: Client, one_of_each: dict[str, Run], error: type[Exception]) -> None:
    def refuse(*args: Any) -> Any:
        raise error

    run = one_of_each["running"]
    with connection.execute_wrapper(refuse):
        replies = [operator.get(LIST), operator.post(f"{LIST}{run.pk}/cancel")]
    for reply in replies:
        told = reply.json()["error"]
        assert (reply.status_code, reply["Retry-After"]) == (503, "1")
        assert (told["code"], told["type"]) == ("database_unavailable", "server_error")
