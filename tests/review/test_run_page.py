"""A run's page: its story in a sentence, its line in time, its fields."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway_project import ids
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.vocabulary import NoteKind
from tests.review.conftest import KINDS, MakeRun, ms

LIST = "/admin/gateway_runs/run/"


def page_of(client: Client, run: Run) -> str:
    response = client.get(f"{LIST}{run.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_a_page(
    admin_client: Client, one_of_each: dict[str, Run], kind: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    # session, user, run, notes, parameters, 4 of integrity, content; 2 of who looked, 2 to record the look; savepoints;
    # and a content type, once in a process
    with django_assert_max_num_queries(18):
        page = page_of(admin_client, one_of_each[kind])
    assert "gw-sentence" in page
    assert "Timeline" in page


def test_the_page_tells_one_run_as_one_story(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("aborted", client_request_id="order-7", abort_reason="", parameters={"seed": 7, "user": "ü"})
    page = page_of(admin_client, run)
    for shown in (
        "The client disconnected while output was under way; the agent stopped 0.4 ms later.",
        "<bdi>shop</bdi> asked for <bdi>scripted/count-3</bdi> by Chat Completions.",
        "+500.4 ms",
        "0.4 ms after the abort was asked",
        str(run.pk),
        ids.chat_completion_id(run.pk),
        f"{run.received_at:%Y-%m-%d %H:%M:%S.%f}",
        f'datetime="{run.received_at.isoformat()}"',
        "&quot;user&quot;: &quot;ü&quot;",
    ):
        assert shown in page


def test_fields_with_nothing_to_tell_are_left_out(admin_client: Client, make_run: MakeRun) -> None:
    def headings(run: Run) -> set[str]:
        response = admin_client.get(f"{LIST}{run.pk}/change/")
        return {fieldset.name for fieldset in response.context["adminform"]}

    assert headings(make_run("completed")) == {"Request", "Who asked", "Delivery", "Usage", "Integrity", "Who looked"}
    assert headings(make_run("aborted")) == {
        "Request",
        "Who asked",
        "Abort",
        "Delivery",
        "Usage",
        "Integrity",
        "Who looked",
    }
    assert headings(make_run("running")) == {"Request", "Who asked", "Integrity", "Who looked"}
    assert headings(make_run("rejected", parameters={"seed": 1})) == {
        "Request",
        "Who asked",
        "Error",
        "Delivery",
        "Parameters",
        "Integrity",
        "Who looked",
    }


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("principal_label", "principal=Ada+%26+Co"),
        ("client_request_id", "client_request_id=Ada+%26+Co"),
        ("agent", "agent=Ada+%26+Co"),
        ("model", "model=Ada+%26+Co"),
        ("worker", "worker=Ada+%26+Co"),
        ("client_address", "client_address=Ada+%26+Co"),
    ],
)
def test_a_click_on_a_value_lists_the_runs_that_share_it(
    admin_client: Client, make_run: MakeRun, field: str, address: str
) -> None:
    values: dict[str, Any] = {field: "Ada & Co"}
    run = make_run(**values)
    make_run()
    assert f'href="{LIST}?{address}"' in page_of(admin_client, run)
    found = admin_client.get(f"{LIST}?{address}")
    assert [other.pk for other in found.context["cl"].result_list] == [run.pk]


def test_a_click_on_the_outcome_lists_the_runs_that_share_it(admin_client: Client, make_run: MakeRun) -> None:
    page = page_of(admin_client, make_run("unresponsive"))
    assert f'href="{LIST}?abort_outcome=unresponsive"' in page
    assert ">Unresponsive</a>" in page


def test_notes_stand_in_the_timeline_and_very_many_are_cut(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_project.review.admin.runs.MOST_NOTES", 3)
    run = make_run("aborted")
    for index in range(4):
        RunNote.objects.create(run=run, at=run.received_at + ms(index), kind=NoteKind.TOOL, text=f"search {index}")
    page = page_of(admin_client, run)
    assert "search 2" in page
    assert "search 3" not in page
    assert "Only the first notes are shown" in page


def test_a_run_names_the_runs_that_continue_it_and_the_one_that_it_continues(
    admin_client: Client, make_run: MakeRun
) -> None:
    parent = make_run()
    children = [make_run(parent_run=parent.pk) for _ in range(2)]
    page = page_of(admin_client, parent)
    for child in children:
        assert f'href="{LIST}{child.pk}/change/"' in page
        assert f'href="{LIST}{parent.pk}/change/"' in page_of(admin_client, child)
    assert f'href="{LIST}?parent_run={parent.pk}"' in page
    found = admin_client.get(f"{LIST}?parent_run={parent.pk}").context["cl"].result_list
    assert {run.pk for run in found} == {child.pk for child in children}


def test_a_key_leads_to_all_its_runs(admin_client: Client, make_run: MakeRun) -> None:
    assert f'href="{LIST}?key=1"' in page_of(admin_client, make_run())
    assert "?key=" not in page_of(admin_client, make_run(principal_kind="user"))


def test_an_unknown_run_leads_back_to_the_index(admin_client: Client, db: None) -> None:
    assert admin_client.get(f"{LIST}{ids.new_run_id()}/change/").status_code == 302
