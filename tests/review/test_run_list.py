"""The list of runs: what it shows, what it finds, and what it costs."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.core.paginator import EmptyPage
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from gateway_project import clock, ids
from gateway_project.admin_pages import bounded
from gateway_project.review.admin import RunAdmin
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause, Endpoint, RunStatus
from tests.review.conftest import MakeRun, MakeUser, ms

LIST = "/admin/gateway_runs/run/"


def listed(client: Client, query: str = "") -> set[uuid.UUID]:
    """The ids on the list for that address."""
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return {run.pk for run in response.context["cl"].result_list}


def text_of(response: Any) -> str:
    """The page, as text."""
    text: str = response.content.decode()
    return text


def test_the_list_tells_what_ran_for_whom_how_it_ended_and_whether_the_agent_stopped(
    admin_client: Client, make_run: MakeRun
) -> None:
    run = make_run("aborted", streaming=True)
    page = text_of(admin_client.get(LIST))
    assert f"{run.received_at:%H:%M:%S}" in page
    for shown in (
        '<span class="gw-badge gw-warn">Aborted</span>',
        '<span class="gw-badge gw-good">Stopped</span>',
        "Client disconnected · Output under way",
        "scripted/<wbr>count-3",
        "Chat Completions · streaming",
        "shop",
        "501 ms",
        "abort 0.4 ms",
        "~12 / ~3 tokens",
    ):
        assert shown in page


def test_an_agent_that_was_not_seen_to_end_took_longer_than_its_grace_period(
    admin_client: Client, make_run: MakeRun
) -> None:
    make_run("unresponsive")
    page = text_of(admin_client.get(LIST))
    assert '<span class="gw-badge gw-bad">Unresponsive</span>' in page
    assert "abort &gt; 500 ms" in page


def test_a_zero_is_shown_as_zero_and_only_an_estimate_has_a_tilde(admin_client: Client, make_run: MakeRun) -> None:
    make_run("completed", input_tokens=0, output_tokens=0)
    assert "0 / 0 tokens" in text_of(admin_client.get(LIST))


def test_the_number_of_queries_does_not_grow_with_the_runs(
    admin_client: Client, make_run: MakeRun, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        make_run("aborted")
    with django_assert_num_queries(9):  # session, user, bounded count, page, last verification; the look in a savepoint
        admin_client.get(LIST)


def test_no_query_counts_or_reads_the_whole_table(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunAdmin, "list_per_page", 1)
    for _ in range(3):
        make_run("aborted")
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"{LIST}?question=client-gone&agent=scripted&period=24h")
    on_runs = [query["sql"] for query in queries if "gateway_run" in query["sql"]]
    assert len(on_runs) == 2
    assert all("LIMIT" in sql and "DISTINCT" not in sql for sql in on_runs)


def test_the_newest_come_first_and_no_column_sorts_otherwise(admin_client: Client, make_run: MakeRun) -> None:
    runs = [make_run(ago=ago) for ago in (30, 10, 20)]
    expected = [runs[1].pk, runs[2].pk, runs[0].pk]
    for query in ("", "?o=1", "?o=-2.1"):
        response = admin_client.get(LIST + query)
        assert [run.pk for run in response.context["cl"].result_list] == expected
        assert "sortable" not in text_of(response)


def test_the_count_is_bounded_and_the_page_says_so(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_LISTED", 3)
    for _ in range(5):
        make_run()
    response = admin_client.get(LIST)
    assert response.context["cl"].result_count == 3
    assert "The newest 3 are listed" in text_of(response)
    pages = bounded.BoundedPaginator(Run.objects.order_by("pk"), 2)
    assert pages.num_pages == 2
    with pytest.raises(EmptyPage):
        pages.page(3)


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("running", {"running"}),
        ("client-gone", {"aborted", "unresponsive"}),
        ("unresponsive", {"unresponsive"}),
        ("slow-abort", {"unresponsive"}),
        ("undelivered", {"aborted", "unresponsive"}),
        ("failed", {"failed"}),
    ],
)
def test_each_question_has_its_runs_for_an_answer(
    admin_client: Client, one_of_each: dict[str, Run], question: str, kinds: set[str]
) -> None:
    assert listed(admin_client, f"?question={question}") == {one_of_each[kind].pk for kind in kinds}


def test_client_gone_finds_runs_whose_agent_is_configured_to_finish(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("completed", delivered=False)
    make_run("completed", delivered=True)
    assert listed(admin_client, "?question=client-gone") == {run.pk}


def test_slow_abort_begins_above_a_second(admin_client: Client, make_run: MakeRun) -> None:
    at = clock.now()
    slow = make_run("aborted", abort_requested_at=at, settled_at=at + ms(1001))
    make_run("aborted", abort_requested_at=at, settled_at=at + ms(999))
    assert listed(admin_client, "?question=slow-abort") == {slow.pk}


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("status=failed", {"failed"}),
        ("abort_cause=client_disconnect", {"aborted", "unresponsive"}),
        ("abort_phase=streaming", {"aborted", "unresponsive"}),
        ("abort_outcome=stopped", {"aborted"}),
        ("endpoint=responses", {"rejected", "running"}),
        ("agent=scripted&status=aborted", {"aborted", "unresponsive"}),
        ("principal=night-batch", {"running"}),
        ("model=slow-100x100ms", {"running"}),
    ],
)
def test_filters(admin_client: Client, one_of_each: dict[str, Run], query: str, kinds: set[str]) -> None:
    assert listed(admin_client, f"?{query}") == {one_of_each[kind].pk for kind in kinds}


def test_what_no_index_has_is_no_filter(admin_client: Client, one_of_each: dict[str, Run]) -> None:
    assert "streaming" not in {spec.title for spec in admin_client.get(LIST).context["cl"].filter_specs}
    assert admin_client.get(f"{LIST}?streaming=yes").status_code == 400


def test_time_ranges_end_now(admin_client: Client, make_run: MakeRun) -> None:
    ages = {"1h": timedelta(minutes=30), "24h": timedelta(hours=5), "7d": timedelta(days=3), "30d": timedelta(days=20)}
    runs = [make_run(ago=age.total_seconds()) for age in ages.values()]
    make_run(ago=timedelta(days=40).total_seconds())
    for index, period in enumerate(ages):
        assert listed(admin_client, f"?period={period}") == {run.pk for run in runs[: index + 1]}


def test_a_time_range_has_both_its_ends_and_reads_days_as_whole(admin_client: Client, make_run: MakeRun) -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    runs = [make_run(received_at=noon + timedelta(hours=hours)) for hours in (-13, -12, 0, 11, 12)]
    for query, expected in {
        "since=2026-03-02&until=2026-03-02": runs[1:4],
        "since=2026-03-02T12:00": runs[2:],
        "until=2026-03-02T12:00:00Z": runs[:3],
        f"since={quote(noon.isoformat())}&until={quote(noon.isoformat())}": runs[2:3],
    }.items():
        assert listed(admin_client, f"?{query}") == {run.pk for run in expected}, query


def test_what_is_no_time_finds_nothing_and_says_so(admin_client: Client, make_run: MakeRun) -> None:
    make_run()
    response = admin_client.get(f"{LIST}?since=yesterday")
    assert not response.context["cl"].result_list
    assert "is no date or time in ISO 8601" in text_of(response)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("question=faild", "There is no such question: &#x27;faild&#x27;."),
        ("period=25h", "There is no such period: &#x27;25h&#x27;."),
        ("status=faild", "There is no such status: &#x27;faild&#x27;."),
    ],
)
def test_a_misspelt_filter_finds_nothing_and_says_so(
    admin_client: Client, make_run: MakeRun, query: str, complaint: str
) -> None:
    make_run("failed")
    reply = admin_client.get(f"{LIST}?{query}")
    assert list(reply.context["cl"].result_list) == []
    assert complaint in reply.content.decode()


def test_the_form_of_a_time_range_keeps_what_else_is_chosen(admin_client: Client, make_run: MakeRun) -> None:
    make_run()
    text = text_of(admin_client.get(f"{LIST}?question=failed&agent=a%22b&since=2026-03-02&p=1"))
    form = text[text.index('class="gw-between"') :]
    form = form[: form.index("</form>")]
    assert '<input type="hidden" name="question" value="failed">' in form
    assert '<input type="hidden" name="agent" value="a&quot;b">' in form
    assert 'name="p"' not in form
    assert form.count('name="since"') == 1


def test_a_list_that_is_cut_goes_on_with_older_runs_from_its_last_page(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_LISTED", 4)
    monkeypatch.setattr(RunAdmin, "list_per_page", 2)
    runs = [make_run(ago=ago) for ago in range(1, 8)]
    make_run("failed", ago=6.5)
    seen: list[uuid.UUID] = []
    address = "?status=completed"
    for _ in range(3):
        for page in ("", "&p=2"):
            response = admin_client.get(LIST + address + page)
            seen += [run.pk for run in response.context["cl"].result_list]
            if response.context["cl"].result_count <= 2:
                break
        address = response.context["older_url"] or ""
        assert ("Older ones, from here on" in text_of(response)) is bool(address)
        if not address:
            break
    assert not address
    assert list(dict.fromkeys(seen)) == [run.pk for run in runs]
    assert len(seen) == 7 + 2  # each part begins with the last run of the one before


def test_no_page_is_asked_for_without_a_limit(admin_client: Client, make_run: MakeRun) -> None:
    make_run()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
        admin_client.get(f"{LIST}?all=")
    on_runs = [query["sql"] for query in queries if "gateway_run" in query["sql"]]
    assert len(on_runs) == 4
    assert all("LIMIT" in sql for sql in on_runs)


def test_cells_lead_to_the_runs_that_share_them(admin_client: Client, make_run: MakeRun) -> None:
    parent = ids.new_run_id()
    make_run(client_address="10.0.0.7", client_request_id="order-7", parent_run=parent, principal_id="7")
    make_run(agent="other", principal_label="else", principal_id="8", client_address="10.0.0.8")
    page = text_of(admin_client.get(LIST))
    for query in (
        "agent=scripted",
        "principal=shop",
        "client_address=10.0.0.7",
        "client_request_id=order-7",
        f"parent_run={parent}",
    ):
        assert f'href="{LIST}?{query}"' in page
        assert admin_client.get(f"{LIST}?{query}").context["cl"].result_count == 1, query
    assert admin_client.get(f"{LIST}?key=7").context["cl"].result_count == 1


def test_a_key_is_not_a_user_of_the_same_id(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run(principal_id="7")
    make_run(principal_id="7", principal_kind="user")
    assert listed(admin_client, "?key=7") == {run.pk}


def test_what_cannot_be_a_parents_id_finds_nothing(admin_client: Client, make_run: MakeRun) -> None:
    make_run()
    assert listed(admin_client, "?parent_run=nonsense") == set()


def test_choices_come_from_the_vocabulary_and_the_settings(admin_client: Client, make_run: MakeRun) -> None:
    make_run(agent="retired")
    specs = {spec.title: spec for spec in admin_client.get(LIST).context["cl"].filter_specs}
    assert [key for key, _ in specs["status"].lookup_choices] == list(RunStatus)
    assert [key for key, _ in specs["abort cause"].lookup_choices] == list(AbortCause)
    assert [key for key, _ in specs["endpoint"].lookup_choices] == list(Endpoint)
    assert [key for key, _ in specs["agent"].lookup_choices] == ["scripted"]
    assert "principal" not in specs
    retired = admin_client.get(f"{LIST}?agent=retired").context["cl"]
    assert retired.result_count == 1
    assert "principal" in {spec.title for spec in admin_client.get(f"{LIST}?principal=x").context["cl"].filter_specs}


def test_search_takes_an_id_in_every_spelling(admin_client: Client, make_run: MakeRun) -> None:
    run, _other = make_run(), make_run()
    for spelling in (
        str(run.pk),
        run.pk.hex,
        run.pk.hex.upper(),
        f" {run.pk} ",
        ids.chat_completion_id(run.pk),
        ids.response_id(run.pk),
    ):
        assert listed(admin_client, f"?q={spelling}") == {run.pk}


def test_search_takes_an_exact_principal_or_the_beginning_of_the_clients_request_id(
    admin_client: Client, make_run: MakeRun
) -> None:
    theirs = str(ids.new_run_id())
    run = make_run(principal_label="Ada & Co", client_request_id=theirs)
    make_run()
    for term in ("Ada+%26+Co", theirs, theirs[:13]):
        assert listed(admin_client, f"?q={term}") == {run.pk}
    for term in ("Ada", theirs[1:], str(ids.new_run_id())):
        assert listed(admin_client, f"?q={term}") == set()


def test_a_label_on_the_runs_page_leads_to_all_runs_with_it(admin_client: Client, make_run: MakeRun) -> None:
    runs = [make_run(parameters={"metadata": {"order & co": "47 11"}, "user": user}) for user in ("alice", "bob")]
    page = text_of(admin_client.get(f"{LIST}{runs[0].pk}/change/"))
    [everyone, alice] = sorted(
        unescape(link) for link in re.findall(r'href="/admin/gateway_runs/run/(\?q=[^"]*)"', page)
    )
    assert listed(admin_client, everyone) == {run.pk for run in runs}
    assert listed(admin_client, alice) == {runs[0].pk}


def test_who_may_not_view_runs_sees_neither_list_nor_run(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    client = as_user("cancel_run")
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{run.pk}/change/").status_code == 403
    assert as_user("view_run", name="otto").get(LIST).status_code == 200


def test_text_from_outside_is_escaped(admin_client: Client, make_run: MakeRun) -> None:
    evil = "<script>alert(1)</script>"
    run = make_run(
        "failed",
        principal_label=evil,
        model=evil,
        error_code=evil[:64],
        error_message=evil,
        client_request_id=evil,
        parameters={"user": evil},
    )
    for address in (LIST, f"{LIST}{run.pk}/change/"):
        page = text_of(admin_client.get(address))
        assert evil not in page
        assert "&lt;script&gt;alert(1)" in page
