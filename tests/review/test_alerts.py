"""The outbox in the admin: what waits, for whom, and why it has not arrived."""

import pytest
from django.test import Client
from pytest_django import Settings

from gateway_project import clock, ids
from gateway_project.runs.alerts.outbox import SIGNAL, target_of
from gateway_project.runs.models import Run, RunAlert
from tests.review.conftest import MakeRun, MakeUser
from tests.runs.alerts.receiver import SECRET

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway_runs/runalert/"
URL = "https://user:pass@alerts.example.org/hooks/secret-path?token=secret"


def alert(run: Run, target: str, **fields: object) -> RunAlert:
    payload = '{"type":"run.failed","data":{"error_code":"upstream_down"}}'
    return RunAlert.objects.create(
        run=run.pk, target=target, event="failed", payload=payload, due_at=clock.now(), **fields
    )


@pytest.fixture(autouse=True)
def _one_webhook(settings: Settings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": {"URLS": [URL], "SECRETS": [SECRET]}}


def test_it_says_what_waits_for_whom_and_why(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run("failed")
    tried = alert(run, target_of(URL), attempts=3, last_error="answered with 503")
    alert(run, SIGNAL)
    alert(run, target_of("https://gone.example.org/"))
    client = as_user("view_runalert")
    listed = client.get(LIST).content.decode()
    for shown in (
        "Webhook 1: alerts.example.org",
        "Receivers of the signal",
        "not configured any more",
        "answered with 503",
        f"/admin/gateway_runs/run/{run.pk}/change/",
        "3 waiting alerts",
    ):
        assert shown in listed
    page = client.get(f"{LIST}{tried.pk}/change/").content.decode()
    assert "answered with 503" in page
    assert "upstream_down" in page
    for text in (listed, page):
        assert "secret" not in text
        assert "user:pass" not in text


def test_nobody_changes_it(as_user: MakeUser, admin_client: Client, make_run: MakeRun) -> None:
    waiting = alert(make_run("failed"), SIGNAL)
    for client in (as_user("view_runalert"), admin_client):
        page = f"{LIST}{waiting.pk}/change/"
        assert client.post(page, {"attempts": "0"}).status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403
        assert client.post(f"{LIST}{waiting.pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(LIST, {"action": "delete_selected", "_selected_action": [waiting.pk], "post": "yes"})
    assert RunAlert.objects.get() == waiting


def test_alerts_of_runs_out_of_scope_are_as_if_they_were_not_there(
    as_user: MakeUser, make_run: MakeRun, settings: Settings
) -> None:
    mine = alert(make_run("failed"), SIGNAL)
    hidden = alert(make_run("failed", principal_label="elsewhere"), SIGNAL)
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    client = as_user("view_runalert")
    assert list(client.get(LIST).context["cl"].result_list) == [mine]
    for unknown in (hidden.pk, ids.uuid7()):
        assert client.get(f"{LIST}{unknown}/change/").status_code == 302
