"""Cancelling from the admin: who may, what is written, what is said."""

import uuid

import pytest
from django.test import Client
from pytest_django import Settings

from gateway_project import clock, ids
from gateway_project.review.admin import cancel
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause, NoteKind, RunStatus
from tests.review.conftest import MakeRun, MakeUser

LIST = "/admin/gateway_runs/run/"
CANCEL = f"{LIST}cancel/"


def messages_of(client: Client, address: str = LIST) -> list[str]:
    return [str(message) for message in client.get(address).context["messages"]]


def cancelled(client: Client, *runs: Run, reason: str = "") -> list[str]:
    """Post the confirmation and return what the next page says."""
    response = client.post(CANCEL, {"run": [str(run.pk) for run in runs], "reason": reason})
    assert response.status_code == 302, response.content
    return messages_of(client, response["location"])


def test_the_button_asks_for_a_reason_and_the_request_is_in_the_record(as_user: MakeUser, make_run: MakeRun) -> None:
    client = as_user("view_run", "cancel_run", name="nina")
    run = make_run("running")
    page = client.get(f"{LIST}{run.pk}/change/")
    assert page.context["cancel_url"] == f"{CANCEL}?run={run.pk}"
    asking = client.get(page.context["cancel_url"]).content.decode()
    assert "Cancel this run?" in asking
    assert str(run.pk) in asking
    assert Run.objects.get().abort_requested_at is None  # looking at the page asks nothing

    said = cancelled(client, run, reason=" wrong customer ")
    run.refresh_from_db()
    assert run.abort_cause == AbortCause.OPERATOR_CANCELLED
    assert (run.abort_requested_by, run.abort_reason) == ("nina", "wrong customer")
    assert run.abort_requested_at is not None
    assert run.status == RunStatus.RUNNING
    assert said == ["Asked. The run's worker aborts it within about a second; how it ended will be shown here."]

    after = client.get(f"{LIST}{run.pk}/change/")
    text = after.content.decode()
    assert after.context["cancel_url"] is None
    assert "Cancel asked" in text
    assert "Its abort was asked by nina" in text
    assert "stopped" not in after.context["story"]
    assert "wrong customer" in text


def test_the_page_that_asks_says_in_utc_when_the_run_came(
    admin_client: Client, make_run: MakeRun, settings: Settings
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    run = make_run("running")
    page = admin_client.get(f"{CANCEL}?run={run.pk}").content.decode()
    assert f"received {run.received_at:%Y-%m-%d %H:%M:%S} UTC" in page


def test_the_action_asks_for_a_reason_for_the_open_ones_only(admin_client: Client, make_run: MakeRun) -> None:
    runs = [make_run("running"), make_run("running", status=RunStatus.QUEUED, started_at=None)]
    ended = make_run("completed")
    selected = [str(run.pk) for run in (*runs, ended)]
    page = admin_client.post(LIST, {"action": "cancel_selected", "_selected_action": selected})
    assert page.status_code == 200
    assert {run.pk for run in page.context["runs"]} == {run.pk for run in runs}
    assert not Run.objects.filter(abort_requested_at__isnull=False).exists()
    assert cancelled(admin_client, *runs) == ["2 runs: asked. Their workers abort them within about a second."]
    assert Run.objects.filter(abort_cause=AbortCause.OPERATOR_CANCELLED).count() == 2


def test_the_action_says_when_there_is_nothing_to_cancel(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("completed")
    admin_client.post(LIST, {"action": "cancel_selected", "_selected_action": [str(run.pk)]})
    assert messages_of(admin_client) == ["None of the selected runs is running or queued."]


def test_the_action_takes_a_bounded_number_and_says_so(
    admin_client: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "MOST_AT_ONCE", 2)
    for _ in range(3):
        make_run("running")
    data = {"action": "cancel_selected", "select_across": "1", "_selected_action": [str(uuid.UUID(int=0))]}
    page = admin_client.post(LIST, data)
    assert len(page.context["runs"]) == 2
    assert "At most 2 runs are cancelled at once" in page.content.decode()


def test_what_became_of_each_request_is_counted(admin_client: Client, make_run: MakeRun) -> None:
    asked = make_run("running", abort_requested_at=clock.now(), abort_cause=AbortCause.TIMEOUT)
    said = cancelled(admin_client, make_run("running"), asked, make_run("completed"), make_run("failed"), reason="why")
    assert said == [
        "Asked. The run's worker aborts it within about a second; how it ended will be shown here.",
        "Its abort had been asked already. Your request is kept as a note.",
        "2 runs had ended already. Nothing was changed.",
    ]
    asked.refresh_from_db()
    assert asked.abort_cause == AbortCause.TIMEOUT
    note = asked.notes.get()
    assert (note.kind, note.by, note.text) == (NoteKind.SECOND_CAUSE, "admin", "operator_cancelled: why")


def test_an_ended_run_stays_as_it_was(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("completed")
    page = admin_client.get(f"{LIST}{run.pk}/change/")
    assert page.context["cancel_url"] is None
    cancelled(admin_client, run)
    run.refresh_from_db()
    assert (run.status, run.abort_cause, run.abort_requested_at) == (RunStatus.COMPLETED, "", None)


@pytest.mark.parametrize("permissions", [("view_run",), ("cancel_run",)])
def test_it_needs_the_permission_to_cancel_and_to_view(
    as_user: MakeUser, make_run: MakeRun, permissions: tuple[str, ...]
) -> None:
    client = as_user(*permissions)
    run = make_run("running")
    assert client.get(f"{CANCEL}?run={run.pk}").status_code == 403
    assert client.post(CANCEL, {"run": str(run.pk)}).status_code == 403
    client.post(LIST, {"action": "cancel_selected", "_selected_action": [str(run.pk)]})
    run.refresh_from_db()
    assert run.abort_requested_at is None


def test_strangers_are_sent_to_the_login(client: Client, make_run: MakeRun) -> None:
    run = make_run("running")
    assert client.post(CANCEL, {"run": str(run.pk)})["location"].startswith("/admin/login/")
    assert Run.objects.get().abort_requested_at is None


def test_it_is_protected_against_forged_requests(admin_user: object, make_run: MakeRun) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.login(username="admin", password="password")
    run = make_run("running")
    assert client.post(CANCEL, {"run": str(run.pk)}).status_code == 403
    assert Run.objects.get().abort_requested_at is None


def test_odd_requests_are_refused(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("running")
    assert admin_client.get(CANCEL).status_code == 400
    assert admin_client.post(CANCEL, {"run": [str(run.pk), "garbage"]}).status_code == 400
    assert admin_client.put(CANCEL).status_code == 405
    too_long = admin_client.post(CANCEL, {"run": str(run.pk), "reason": "x" * 501})
    assert too_long.status_code == 200
    assert "at most 500 characters" in too_long.content.decode()
    assert Run.objects.get().abort_requested_at is None
    assert admin_client.get(f"{CANCEL}?run={ids.new_run_id()}").status_code == 404
