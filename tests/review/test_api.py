"""The operators' REST API."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory

from gateway_project import ids
from gateway_project.access.models import APIKey
from gateway_project.review.api.runs import RunCancel
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    record = make_record()
    fields = {name: getattr(record, name) for name in ("id", "status", "endpoint", "received_at")}
    return Run.objects.create(**fields)


def post(client: Client, run_id: object, body: Any = None, **headers: str) -> Any:
    content = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    return client.post(f"/api/runs/{run_id}/cancel", content, content_type="application/json", headers=headers or None)


def bearer(*, operate: bool = True) -> str:
    return f"Bearer {APIKey.objects.create_key('ops', operate=operate)[1]}"


@pytest.mark.parametrize("spell", [str, ids.response_id, ids.chat_completion_id])
def test_a_key_that_may_operate_cancels_a_run_in_any_spelling(client: Client, run: Run, spell: Any) -> None:
    reply = post(client, spell(run.pk), {"reason": "too dear"}, Authorization=bearer())
    assert (reply.status_code, reply.json()) == (202, {"id": str(run.pk), "result": "asked"})
    run.refresh_from_db()
    assert (run.abort_cause, run.abort_requested_by, run.abort_reason) == (
        "operator_cancelled",
        "API key ops",
        "too dear",
    )
    assert run.status == RunStatus.RUNNING, "asked is not stopped"
    assert post(client, run.pk, Authorization=bearer()).json()["result"] == "already_asked"


def test_who_may_not_operate_does_not(client: Client, run: Run) -> None:
    assert post(client, run.pk).status_code == 401
    assert post(client, run.pk, Authorization="Bearer gw-nonsense").status_code == 401
    assert post(client, run.pk, Authorization=bearer(operate=False)).status_code == 403
    client.force_login(User.objects.create_user("nobody"))
    assert post(client, run.pk).status_code == 403
    run.refresh_from_db()
    assert run.abort_requested_at is None


def test_a_session_with_the_permission_cancels_but_not_from_another_site(run: Run) -> None:
    user = User.objects.create_user("olga")
    user.user_permissions.add(Permission.objects.get(codename="cancel_run"))
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert post(browser, run.pk).status_code == 403
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    reply = post(browser, run.pk, **{"X-CSRFToken": token})
    assert reply.status_code == 202
    run.refresh_from_db()
    assert run.abort_requested_by == "olga"


def test_what_cannot_be_cancelled_is_said(client: Client, run: Run) -> None:
    assert post(client, ids.new_run_id(), Authorization=bearer()).status_code == 404
    assert post(client, "nonsense", Authorization=bearer()).status_code == 404
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED)
    ended = post(client, run.pk, Authorization=bearer())
    assert (ended.status_code, ended.json()["result"]) == (409, "already_ended")
    assert client.get(f"/api/runs/{run.pk}/cancel").status_code == 405


@pytest.mark.parametrize(
    "body", ["[]", "{", '{"reason": 5}', "[" * 100_000, '{"raeson": "x"}', f'{{"reason": "{"x" * 501}"}}']
)
def test_a_body_that_is_none_is_refused(client: Client, run: Run, body: str) -> None:
    assert post(client, run.pk, body, Authorization=bearer()).status_code == 400


def test_a_filter_that_is_given_twice_is_refused(admin_client: Client) -> None:
    reply = admin_client.get("/api/runs/?status=failed&status=aborted")
    assert (reply.status_code, "once" in reply.content.decode()) == (400, True)


def test_a_body_that_is_gone_with_its_client_is_no_fault_of_the_server(rf: RequestFactory, run: Run) -> None:
    """Under ASGI Django closes the body's file when the client leaves, though the view still runs in its thread."""
    request = rf.post("/", "{}", content_type="application/json", headers={"Authorization": bearer()})
    request._stream = BytesIO()
    request._stream.close()
    assert RunCancel.as_view()(request, run_id=str(run.pk)).status_code == 400
    run.refresh_from_db()
    assert run.abort_requested_at is None
