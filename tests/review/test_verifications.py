"""The last verification, as a badge, as a page and by the API."""

from contextlib import suppress
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from gateway_project.runs.models import Run, Verification
from gateway_project.runs.seals.chain import unnamed_heads
from gateway_project.runs.seals.triggers import maintenance
from tests.review.conftest import MakeUser
from tests.runs.seals.conftest import Writer

pytestmark = pytest.mark.django_db

PAGES = ("/admin/gateway_runs/run/", "/admin/gateway_runs/overview/")


@pytest.fixture
def runs() -> list[Any]:
    return [Writer().run() for _ in range(3)]


def verify() -> Verification:
    with suppress(CommandError):
        call_command("verifyruns", verbosity=0)
    return Verification.objects.latest("pk")


@pytest.mark.parametrize("page", PAGES)
def test_the_badge_says_what_was_found_last_and_leads_to_it(admin_client: Client, runs: Any, page: str) -> None:
    assert "Never verified" in admin_client.get(page).content.decode()
    clean = verify()
    first = admin_client.get(page)
    shown = first.content.decode()
    assert '<span class="gw-badge gw-good">Clean</span>' in shown
    assert f'<a href="/admin/gateway_runs/verification/{clean.pk}/change/">' in shown
    assert admin_client.get(page, headers={"If-None-Match": first["ETag"]}).status_code == 304
    with maintenance(connection):
        Run.objects.update(output_tokens=4)
    broken = verify()
    again = admin_client.get(page, headers={"If-None-Match": first["ETag"]})
    assert '<span class="gw-badge gw-bad">3 breaks</span>' in again.content.decode()
    Verification.objects.create(started_at=broken.started_at, walked_at=broken.walked_at)
    assert "3 breaks" in admin_client.get(page).content.decode(), "a walk under way has found nothing yet"


def test_who_may_not_see_verifications_gets_no_link(as_user: MakeUser, runs: Any) -> None:
    verify()
    shown = as_user("view_run").get(PAGES[0]).content.decode()
    assert ">Clean<" in shown
    assert "/admin/gateway_runs/verification/" not in shown


def test_a_page_for_each_walk(as_user: MakeUser, runs: Any, settings: Any) -> None:
    with maintenance(connection):
        Run.objects.filter(pk=runs[0]).update(output_tokens=4)
    walk = verify()
    client = as_user("view_verification", "view_run")
    assert "1 break" in client.get("/admin/gateway_runs/verification/").content.decode()
    url = f"/admin/gateway_runs/verification/{walk.pk}/change/"
    page = client.get(url).content.decode()
    assert "1 changed row" in page
    assert f"run {runs[0]} is not what was sealed" in page
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    hidden = client.get(url).content.decode()
    assert "1 changed row" in hidden
    assert str(runs[0]) not in hidden
    for path in ("add/", f"{walk.pk}/delete/"):
        assert client.post(f"/admin/gateway_runs/verification/{path}", {"post": "yes"}).status_code == 403
    assert as_user("view_run", name="otto").get(url).status_code == 403


def test_the_api_says_whether_it_is_clean_and_where_the_chains_end(admin_client: Client, runs: Any) -> None:
    state = admin_client.get("/api/seals/").json()
    assert (state["clean"], state["verification"]) == (None, None)
    walk = verify()
    state = admin_client.get("/api/seals/?limit=2").json()
    assert state["clean"] is True
    assert (state["verification"]["id"], state["verification"]["seals"], state["verification"]["breaks"]) == (
        walk.pk,
        3,
        {},
    )
    [head] = unnamed_heads(connection)
    assert state["heads"] == [{"chain": str(head.chain), "number": 1, "hash": head.hash.hex()}]
    chains = [chain["id"] for chain in state["results"]]
    assert len(chains) == 2
    rest = admin_client.get(state["next"]).json()
    assert rest["next"] is None
    chains += [chain["id"] for chain in rest["results"]]
    assert len(set(chains)) == 3
    assert sorted(chains, reverse=True) == chains


def test_the_api_names_no_run_that_may_not_be_seen(as_user: MakeUser, runs: Any, settings: Any) -> None:
    client = as_user("view_seal")
    with maintenance(connection):
        Run.objects.filter(pk=runs[0]).update(output_tokens=4)
    verify()
    seen = client.get("/api/seals/").json()["verification"]
    assert seen["first_break"] == f"changed row: run {runs[0]} is not what was sealed"
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    state = client.get("/api/seals/").json()
    assert state["clean"] is False
    assert (state["verification"]["breaks"], state["verification"]["first_break"]) == ({"changed row": 1}, None)


def test_the_api_is_for_who_has_the_permission(as_user: MakeUser, operator: Client, settings: Any) -> None:
    assert Client().get("/api/seals/").status_code == 401
    assert as_user("view_run").get("/api/seals/").status_code == 403
    assert as_user("view_seal", name="otto").get("/api/seals/").status_code == 200
    assert operator.get("/api/seals/").status_code == 403
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": ["gateway_runs.view_seal"]}}
    assert operator.get("/api/seals/").status_code == 200
    assert operator.get("/api/seals/?cursor=nonsense").status_code == 400
