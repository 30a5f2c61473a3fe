"""Who looked at the records: a row for each look, few for pages that keep themselves fresh, seen by those who may."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from gateway_project import clock
from gateway_project.review.access import AGAIN_AFTER, AccessRecords, Onlooker, note_look
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from tests.review.conftest import MakeRun, MakeUser

LIST = "/admin/gateway_runs/run/"
ACCESSES = "/admin/gateway_review/accessrecord/"


def looks(**fields: Any) -> list[tuple[str, str, str, str]]:
    """Who, what, by which way, and the filter."""
    found = AccessRecord.objects.filter(**fields).order_by("id")
    return list(found.values_list("who", "what", "via", "asked"))


def test_every_way_to_the_records_leaves_a_row(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run("aborted")
    client = as_user("view_run")
    client.get(f"{LIST}?question=failed")
    client.get(f"{LIST}{run.pk}/change/", REMOTE_ADDR="192.0.2.9")
    b"".join(client.get(f"{LIST}export/?format=csv&agent=scripted"))
    client.get("/api/runs/?agent=scripted&limit=2")
    client.get(f"/api/runs/{run.pk}")
    b"".join(client.get("/api/runs/export?status=aborted"))
    call_command("exportruns", "--status", "aborted", stdout=StringIO())
    assert looks(who="nina", who_kind="user") == [
        ("nina", "list", "admin", "question=failed"),
        ("nina", "run", "admin", ""),
        ("nina", "export", "admin", "agent=scripted"),
        ("nina", "list", "api", "agent=scripted"),
        ("nina", "run", "api", ""),
        ("nina", "export", "api", "status=aborted"),
    ]
    [record] = AccessRecord.objects.filter(who_kind="os_user")
    assert (record.what, record.via, record.asked) == ("export", "command", "status=aborted")
    assert record.who
    shown = AccessRecord.objects.get(what="run", via="admin")
    assert (shown.run, shown.address) == (run.pk, "192.0.2.9")


def test_a_page_that_keeps_itself_fresh_leaves_one_row_in_a_while(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run("running")
    client = as_user("view_run")
    for address in (f"{LIST}{run.pk}/change/", f"{LIST}?question=running"):
        first = client.get(address)
        for _ in range(3):
            assert client.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
            assert client.get(address).status_code == 200
    assert [what for _, what, _, _ in looks()] == ["run", "list"]
    as_user("view_run", name="otto").get(f"{LIST}{run.pk}/change/")
    client.get("/api/runs/?cursor=")
    assert [(who, what) for who, what, _, _ in looks()][:3] == [("nina", "run"), ("nina", "list"), ("otto", "run")]
    AccessRecord.objects.update(at=clock.now() - AGAIN_AFTER - timedelta(seconds=1))
    client.get(f"{LIST}{run.pk}/change/")
    assert len(looks(who="nina", what="run", via="admin")) == 2


def test_the_pages_of_a_list_are_one_look_and_each_export_is_one(as_user: MakeUser, make_run: MakeRun) -> None:
    for _ in range(3):
        make_run()
    client = as_user("view_run")
    address = "/api/runs/?limit=1"
    while address:
        address = client.get(address).json()["next"]
    for _ in range(2):
        b"".join(client.get("/api/runs/export"))
    assert [what for _, what, _, _ in looks()] == ["list", "export", "export"]


def test_the_page_that_asks_before_it_cancels_shows_runs(as_user: MakeUser, make_run: MakeRun) -> None:
    runs = [make_run("running") for _ in range(2)]
    client = as_user("view_run", "cancel_run")
    assert client.get(f"{LIST}cancel/?run={runs[0].pk}").status_code == 200
    assert [record.run for record in AccessRecord.objects.filter(what="run")] == [runs[0].pk]
    client.post(LIST, {"action": "cancel_selected", "_selected_action": [str(run.pk) for run in runs]})
    assert {record.run for record in AccessRecord.objects.filter(what="run")} == {run.pk for run in runs}
    assert len(looks(what="run")) == 2


def test_no_form_completes_runs_past_the_record(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run()
    for model in ("runnote", "runlabel", "runcontent"):
        asked = {"app_label": "gateway_runs", "model_name": model, "field_name": "run", "term": ""}
        reply = admin_client.get("/admin/autocomplete/", asked)
        assert reply.status_code == 404
        assert str(run.pk) not in reply.content.decode()


def test_who_is_refused_has_not_looked(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    client = as_user()
    for address in (LIST, f"{LIST}{run.pk}/change/", f"{LIST}export/?format=csv", "/api/runs/", f"/api/runs/{run.pk}"):
        assert client.get(address).status_code == 403
    assert looks() == []


def test_the_list_of_looks_is_searched_and_never_changed(
    as_user: MakeUser, make_run: MakeRun, admin_client: Client
) -> None:
    run, other = make_run(), make_run()
    nina, otto = as_user("view_run"), as_user("view_run", name="otto")
    for client, seen in ((nina, run), (otto, run), (otto, other)):
        client.get(f"{LIST}{seen.pk}/change/")
    auditor = as_user("view_accessrecord", name="auditor")
    assert nina.get(ACCESSES).status_code == 403

    def found(query: str) -> set[tuple[str, Any]]:
        changes = auditor.get(f"{ACCESSES}?{query}").context["cl"]
        return {(record.who, record.run) for record in changes.result_list}

    b"".join(otto.get(f"{LIST}export/?format=csv&agent=scripted&status=aborted"))
    assert "agent: scripted, status: aborted" in auditor.get(f"{ACCESSES}?what=export").content.decode()
    AccessRecord.objects.filter(what="export").delete()
    assert found("") == {("nina", run.pk), ("otto", run.pk), ("otto", other.pk)}
    assert found("q=otto") == {("otto", run.pk), ("otto", other.pk)}
    assert found(f"q={run.pk}") == {("nina", run.pk), ("otto", run.pk)}
    assert found("what=content") == set()
    record = AccessRecord.objects.all()[0]
    for client in (auditor, admin_client):
        page = f"{ACCESSES}{record.pk}/change/"
        assert client.get(page).status_code == 200
        assert client.post(page, {"who": "nobody"}).status_code == 403
        assert client.get(f"{ACCESSES}add/").status_code == 403
        assert client.post(f"{ACCESSES}{record.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_runs_page_names_who_looked_to_those_who_may_know(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    as_user("view_run", name="otto").get(f"{LIST}{run.pk}/change/")
    address = f"{LIST}{run.pk}/change/"
    assert "otto (A run, Admin)" not in as_user("view_run").get(address).content.decode()
    text = as_user("view_run", "view_accessrecord", name="auditor").get(address).content.decode()
    assert "otto (A run, Admin)" in text
    assert f"{reverse('admin:gateway_review_accessrecord_changelist')}?q={run.pk}" in text


def test_who_may_not_see_all_runs_sees_the_looks_at_those_that_he_may(
    as_user: MakeUser, make_run: MakeRun, settings: Settings
) -> None:
    mine, other = make_run(), make_run(principal_label="other")
    client = as_user("view_run", name="otto")
    for run in (mine, other):
        client.get(f"{LIST}{run.pk}/change/")
    client.get(LIST)
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    changes = as_user("view_accessrecord").get(ACCESSES).context["cl"]
    assert [record.run for record in changes.result_list] == [mine.pk]


def forgotten(label: str, asked: str) -> str:
    """What is left of somebody's filter when a principal of that name is erased."""
    note_look(Onlooker(AccessVia.ADMIN, "user", "1", "nina"), Accessed.LIST, asked=asked)
    AccessRecords().forget("api_key", "7", [label], connection)
    [record] = AccessRecord.objects.all()
    return record.asked


@pytest.mark.parametrize(
    ("label", "asked", "left"),
    [
        ("a", "status=aborted&period=24h&principal=alice&q=a+b&agent=a", "status=aborted&period=24h&principal=alice"),
        ("alice smith", "status=failed&principal=alice+smith", "status=failed&principal=(erased)"),
        ("alice smith", "q=+alice%20smith+&period=24h", "q=(erased)&period=24h"),
        ("Jürgen & Söhne", "principal=J%C3%BCrgen+%26+S%C3%B6hne", "principal=(erased)"),
        ("alice", "key=7&agent=scripted", "key=(erased)&agent=scripted"),
        ("alice", "key=77&client_request_id=alice", "key=77&client_request_id=alice"),
        ("alice", "principal=&q=", "principal=&q="),
    ],
)
def test_of_a_filter_only_what_names_whoever_is_erased_goes(db: None, label: str, asked: str, left: str) -> None:
    found = QueryDict(forgotten(label, asked)).dict()
    assert found == QueryDict(asked).dict() | QueryDict(left).dict()


def test_a_filter_that_was_cut_in_the_middle_of_a_name_does_not_keep_its_beginning(db: None) -> None:
    worker = "w" * 970
    asked = f"worker={worker}&principal=alice+smith+of+the+shop"
    assert forgotten("alice smith of the shop", asked).startswith(f"worker={worker}&principal=%28erased")


def test_a_filter_that_was_cut_elsewhere_stays(db: None) -> None:
    asked = f"principal=otto&worker={'w' * 1000}"
    assert forgotten("alice", asked) == asked[:1000]
