"""Legal holds by the API: set and lifted by the rules of the admin."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from gateway_project import ids
from gateway_project.runs.models import Run
from gateway_project.runs.retention import holds
from gateway_project.runs.retention.holds import UnknownRun, is_held, set_hold
from gateway_project.runs.retention.models import LegalHold
from tests.review.conftest import MakeRun, MakeUser

pytestmark = pytest.mark.django_db

JSON: dict[str, Any] = {"content_type": "application/json"}


@pytest.fixture
def nora(as_user: MakeUser) -> Client:
    return as_user("set_legal_hold", name="nora")


def address(run: Run) -> str:
    return f"/api/runs/{run.pk}/hold"


def test_a_run_is_held_and_let_go_with_reasons(nora: Client, make_run: MakeRun) -> None:
    run, other = make_run(), make_run()
    reply = nora.post(f"/api/runs/{ids.chat_completion_id(run.pk)}/hold", {"reason": " case 12 "}, **JSON)
    assert reply.status_code == 201
    hold = LegalHold.objects.get()
    [shown] = reply.json()["results"]
    assert (reply.json()["id"], reply.json()["held"]) == (str(run.pk), True)
    assert (shown["id"], shown["reason"], shown["set_by"], shown["lifted_at"]) == (hold.pk, "case 12", "nora", None)
    assert (hold.run, hold.set_by, hold.reason) == (run.pk, "nora", "case 12")
    assert nora.post(address(run), {"reason": "case 13"}, **JSON).status_code == 201
    elsewhere = set_hold(run=other.pk, by="otto", reason="x")

    reply = nora.delete(f"{address(run)}?reason=both+closed")
    assert (reply.status_code, reply.json()["held"]) == (200, False)
    assert {(hold["lifted_by"], hold["lift_reason"]) for hold in reply.json()["results"]} == {("nora", "both closed")}
    assert len(reply.json()["results"]) == 2
    assert not is_held(run.pk)
    assert list(LegalHold.objects.in_force()) == [elsewhere]
    again = nora.delete(f"{address(run)}?reason=again")
    assert (again.status_code, again.json()["results"]) == (409, [])
    hold.refresh_from_db()
    assert hold.lift_reason == "both closed", "the first time counts"


def test_a_hold_on_the_principal_stays(nora: Client, make_run: MakeRun) -> None:
    run = make_run()
    whole = set_hold(kind="api_key", principal_id="1", by="otto", reason="x")
    nora.post(address(run), {"reason": "case 12"}, **JSON)
    reply = nora.delete(f"{address(run)}?reason=closed")
    assert (reply.status_code, reply.json()["held"]) == (200, True)
    reply = nora.delete(f"{address(run)}?reason=closed")
    assert (reply.status_code, reply.json()["held"]) == (409, True)
    whole.refresh_from_db()
    assert whole.is_in_force


@pytest.mark.parametrize("given", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": 12}])
def test_a_reason_must_be_said(nora: Client, make_run: MakeRun, given: dict[str, Any]) -> None:
    run = make_run()
    refused = nora.post(address(run), given, **JSON)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reason")
    assert not LegalHold.objects.exists()
    hold = set_hold(run=run.pk, by="otto", reason="x")
    for query in ("", "?reason=", f"?reason={'x' * 501}"):
        refused = nora.delete(f"{address(run)}{query}")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reason")
    hold.refresh_from_db()
    assert hold.is_in_force


def test_a_run_that_is_not_there_is_not_held(nora: Client) -> None:
    for run_id in (ids.new_run_id(), "nonsense"):
        assert nora.post(f"/api/runs/{run_id}/hold", {"reason": "x"}, **JSON).status_code == 404
        assert nora.delete(f"/api/runs/{run_id}/hold?reason=x").status_code == 404
    assert not LegalHold.objects.exists()


def test_one_that_is_purged_meanwhile_is_not_held(
    nora: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(**given: Any) -> LegalHold:
        raise UnknownRun

    monkeypatch.setattr("gateway_project.review.api.holds.set_hold", too_late)
    assert nora.post(address(make_run()), {"reason": "x"}, **JSON).status_code == 404


def test_a_key_needs_the_permission_and_is_named(operator: Client, make_run: MakeRun, settings: Settings) -> None:
    run = make_run()
    assert operator.post(address(run), {"reason": "x"}, **JSON).status_code == 403
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": ["gateway_runs.set_legal_hold"]}}
    assert operator.post(address(run), {"reason": "x"}, **JSON).status_code == 201
    assert LegalHold.objects.get().set_by == "API key ops"
    assert holds.is_held(run.pk)
