"""Legal holds in the admin and on the command line."""

import io

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from gateway_project import ids
from gateway_project.runs.retention.holds import is_held, set_hold
from gateway_project.runs.retention.models import LegalHold
from tests.review.conftest import MakeRun, MakeUser

pytestmark = pytest.mark.django_db

ADD = "/admin/gateway_runs/legalhold/add/"
LIST = "/admin/gateway_runs/legalhold/"


def change(hold: LegalHold) -> str:
    return f"{LIST}{hold.pk}/change/"


def test_a_hold_on_a_run_is_set_and_lifted_with_reasons(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    client = as_user("set_legal_hold", name="nora")
    assert str(run.pk) in client.get(f"{ADD}?run={run.pk}").content.decode()
    given = {"run": ids.response_id(run.pk), "principal_kind": "", "principal_id": "", "reason": "case 12"}
    assert client.post(ADD, given).status_code == 302
    hold = LegalHold.objects.get()
    assert (hold.run, hold.set_by, hold.reason, hold.is_in_force) == (run.pk, "nora", "case 12", True)
    assert is_held(run.pk)

    assert "Lift this legal hold?" in client.get(change(hold)).content.decode()
    assert "This field is required" in client.post(change(hold), {"lift_reason": ""}).content.decode()
    assert client.post(change(hold), {"lift_reason": "closed", "reason": "other", "run": ""}).status_code == 302
    hold.refresh_from_db()
    assert (hold.lifted_by, hold.lift_reason, hold.reason, hold.run) == ("nora", "closed", "case 12", run.pk)
    assert not is_held(run.pk)
    page = client.get(change(hold)).content.decode()
    assert "closed" in page
    assert 'name="lift_reason"' not in page
    assert client.post(change(hold), {"lift_reason": "again"}).status_code == 403
    assert all(str(run.pk) not in entry.object_repr for entry in LogEntry.objects.all())


def test_a_hold_on_a_principal(as_user: MakeUser, make_run: MakeRun) -> None:
    run, other = make_run(), make_run(principal_id="2")
    client = as_user("set_legal_hold", "view_run")
    given = {"run": "", "principal_kind": "api_key", "principal_id": "1", "reason": "case 13"}
    assert client.post(ADD, given).status_code == 302
    assert is_held(run.pk)
    assert not is_held(other.pk)
    page = client.get(f"/admin/gateway_runs/run/{run.pk}/change/").content.decode()
    assert ">Held<" in page
    assert f"{ADD}?run={run.pk}" in page
    assert ">Held<" not in client.get(f"/admin/gateway_runs/run/{other.pk}/change/").content.decode()
    looking = as_user("view_run", name="otto").get(f"/admin/gateway_runs/run/{run.pk}/change/").content.decode()
    assert ADD not in looking
    listed = client.get(f"{LIST}?state=in-force").content.decode()
    assert "api_key 1" in listed
    assert "api_key 1" not in client.get(f"{LIST}?state=lifted").content.decode()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Name a run, or a principal"),
        ({"run": "nonsense"}, "There is no such run."),
        ({"run": str(ids.new_run_id())}, "There is no such run."),
        ({"principal_kind": "api_key"}, "by its kind and its id"),
        ({"principal_id": "1"}, "by its kind and its id"),
        ({"principal_kind": "api_key", "principal_id": "1", "reason": ""}, "This field is required"),
    ],
)
def test_what_is_no_hold(as_user: MakeUser, given: dict[str, str], said: str) -> None:
    client = as_user("set_legal_hold")
    whole = {"run": "", "principal_kind": "", "principal_id": "", "reason": "x"} | given
    assert said in client.post(ADD, whole).content.decode()
    assert not LegalHold.objects.exists()


def test_both_at_once_is_no_hold(as_user: MakeUser, make_run: MakeRun) -> None:
    given = {"run": str(make_run().pk), "principal_kind": "api_key", "principal_id": "1", "reason": "x"}
    assert "Name a run, or a principal" in as_user("set_legal_hold").post(ADD, given).content.decode()


def test_who_may_only_look_sets_and_lifts_none(as_user: MakeUser, make_run: MakeRun, client: Client) -> None:
    hold = set_hold(run=make_run().pk, by="nora", reason="x")
    watcher = as_user("view_legalhold", name="otto")
    assert watcher.get(LIST).status_code == 200
    assert watcher.get(change(hold)).status_code == 200
    assert watcher.get(ADD).status_code == 403
    assert watcher.post(change(hold), {"lift_reason": "x"}).status_code == 403
    assert watcher.post(f"{LIST}{hold.pk}/delete/", {"post": "yes"}).status_code == 403
    nobody = as_user("view_run", name="nobody")
    assert nobody.get(LIST).status_code == 403
    assert nobody.get(ADD).status_code == 403
    hold.refresh_from_db()
    assert hold.is_in_force


def test_holds_on_runs_out_of_scope_are_neither_seen_nor_set_nor_lifted(
    as_user: MakeUser, make_run: MakeRun, settings: Settings
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    mine, other = make_run(), make_run(principal_label="elsewhere")
    seen = set_hold(run=mine.pk, by="nora", reason="case 12")
    hidden = [
        set_hold(run=other.pk, by="nora", reason="case 13"),
        set_hold(kind="api_key", principal_id="9", by="nora", reason="case 14"),
    ]
    client = as_user("set_legal_hold", "view_legalhold")
    page = client.get(LIST).content.decode()
    assert "case 12" in page
    assert "case 13" not in page
    assert "case 14" not in page
    assert client.get(change(seen)).status_code == 200
    for hold in hidden:
        assert client.get(change(hold)).status_code == 302, "as one that is not there"
        assert client.post(change(hold), {"lift_reason": "x"}).status_code == 302
        hold.refresh_from_db()
        assert hold.is_in_force
    for given in ({"run": str(other.pk)}, {"principal_kind": "api_key", "principal_id": "1"}):
        whole = {"run": "", "principal_kind": "", "principal_id": "", "reason": "x"} | given
        assert client.post(ADD, whole).status_code == 200
    assert LegalHold.objects.count() == 3


def legalhold(*arguments: str) -> str:
    out = io.StringIO()
    call_command("legalhold", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_sets_lists_and_lifts(make_run: MakeRun) -> None:
    run = make_run()
    assert legalhold("--run", ids.chat_completion_id(run.pk), "--reason", "case 12").startswith("Set: legal hold ")
    assert legalhold("--principal", "api_key", "9", "--reason", "case 13").startswith("Set: legal hold ")
    second, first = LegalHold.objects.all()
    assert first.set_by.startswith("command line (")
    listed = legalhold().splitlines()
    assert f"{first.pk}  run {run.pk}  " in listed[1]
    assert f"{second.pk}  api_key 9  " in listed[0]
    assert listed[0].endswith(": case 13")
    assert legalhold("--lift", str(first.pk), "--reason", "closed") == f"Lifted: legal hold {first.pk}.\n"
    assert not is_held(run.pk)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--run", "nonsense", "--reason", "x"),
        ("--run", str(ids.new_run_id()), "--reason", "x"),
        ("--principal", "api_key", "", "--reason", "x"),
        ("--principal", "api_key", "1"),
        ("--lift", "1", "--reason", "x"),
    ],
)
def test_what_the_command_refuses(db: None, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        legalhold(*arguments)
    assert not LegalHold.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--principal", "k" * 25, "1", "--reason", "x"), "KIND: .* at most 24 characters"),
        (("--principal", "api_key", "1" * 65, "--reason", "x"), "ID: .* at most 64 characters"),
        (("--principal", "api_key", "1", "--reason", "x" * 501), "--reason: .* at most 500 characters"),
        (("--principal", "api_key", "1", "--reason", " "), "--reason: .* blank"),
    ],
)
def test_the_command_names_the_limit_on_every_database(db: None, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        legalhold(*arguments)
    assert not LegalHold.objects.exists()
