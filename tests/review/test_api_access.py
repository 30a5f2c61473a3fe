"""Who may use the operators' API, and what they then see: by permission, by key, by the shop's own rules."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.checks import run_checks
from django.test import Client
from pytest_django import Settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.throttling import BaseThrottle, UserRateThrottle

from gateway_project import ids
from gateway_project.access.models import APIKey
from gateway_project.review.models import AccessRecord
from gateway_project.runs.models import Run
from gateway_project.runs.retention.holds import set_hold
from gateway_project.runs.retention.models import LegalHold
from responses.models import StoredResponse
from tests.review.conftest import MakeRun, MakeUser
from tests.review.test_content import keep

ADDRESSES = [
    ("get", "/api/runs/", "view_run"),
    ("get", "/api/runs/export", "view_run"),
    ("get", "/api/runs/{run}", "view_run"),
    ("post", "/api/runs/{run}/cancel", "cancel_run"),
    ("post", "/api/runs/{run}/hold", "set_legal_hold"),
    ("delete", "/api/runs/{run}/hold?reason=x", "set_legal_hold"),
    ("get", "/api/seals/", "view_seal"),
    ("get", "/api/keys/", "view_apikey"),
    ("post", "/api/keys/", "add_apikey"),
    ("post", "/api/keys/{key}/revoke", "change_apikey"),
    ("get", "/api/agents/", "view_run"),
]
JSON: dict[str, Any] = {"content_type": "application/json"}


@pytest.fixture
def ask(make_run: MakeRun) -> Callable[..., Any]:
    """Send one of the requests, for a run and a key that are there."""
    run = make_run("running")
    set_hold(run=run.pk, by="nora", reason="x")
    key, _ = APIKey.objects.create_key("somebody")

    def send(client: Client, method: str, address: str, **headers: str) -> Any:
        url = address.format(run=run.pk, key=key.pk)
        given = {"name": "made"} if address.startswith("/api/keys") else {"reason": "case 12"}
        body: Any = {} if method == "get" else {"data": given, **JSON}
        return getattr(client, method)(url, **body, headers=headers)

    return send


@pytest.mark.parametrize(("method", "address", "permission"), ADDRESSES)
def test_each_address_needs_its_permission_and_no_other(
    ask: Callable[..., Any], as_user: MakeUser, method: str, address: str, permission: str
) -> None:
    others = {needed for _, _, needed in ADDRESSES} - {permission}
    for client in (as_user(name="nobody"), as_user(*others, name="others")):
        refused = ask(client, method, address)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
        assert "shop" not in refused.content.decode()
    assert ask(as_user(permission, name="somebody"), method, address).status_code in (200, 201, 202)


@pytest.mark.parametrize(("method", "address", "permission"), ADDRESSES)
def test_who_is_not_known_is_told_to_bring_a_key(
    ask: Callable[..., Any], method: str, address: str, permission: str
) -> None:
    _, no_operator = APIKey.objects.create_key("client")
    revoked, gone = APIKey.objects.create_key("gone", operate=True)
    APIKey.objects.filter(pk=revoked.pk).update(revoked_at=revoked.created_at)
    for token in ({}, {"Authorization": "Bearer gw-nonsense"}, {"Authorization": f"Bearer {gone}"}):
        reply = ask(Client(), method, address, **token)
        assert (reply.status_code, reply["WWW-Authenticate"]) == (401, "Bearer")
    assert ask(Client(), method, address, Authorization=f"Bearer {no_operator}").status_code == 403


@pytest.mark.parametrize(("method", "address", "permission"), ADDRESSES)
def test_a_key_looks_at_runs_and_cancels_them_but_does_nothing_else_unless_the_shop_says_so(
    ask: Callable[..., Any], operator: Client, settings: Settings, method: str, address: str, permission: str
) -> None:
    reply = ask(operator, method, address)
    assert (reply.status_code != 403) is (permission in ("view_run", "cancel_run")), reply.content
    full = f"{'gateway_access' if 'apikey' in permission else 'gateway_runs'}.{permission}"
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": [full]}}
    assert ask(operator, method, address).status_code in (200, 201, 202)


# -- whose runs -----------------------------------------------------------------------------------------


@pytest.fixture
def hidden(make_run: MakeRun, settings: Settings) -> Run:
    """A run that only superusers may see, beside one of the shop's."""
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "tests.review.scopes.of_the_shop"}
    make_run("running", principal_label="shop", agent="scripted")
    return make_run("running", principal_label="elsewhere", agent="secret-agent")


def test_the_api_shows_only_runs_in_scope(operator: Client, hidden: Run) -> None:
    for address in ("/api/runs/", f"/api/runs/?q={hidden.pk}", "/api/runs/?status=running", "/api/runs/export"):
        reply = operator.get(address)
        text = b"".join(reply) if reply.streaming else reply.content
        assert b"elsewhere" not in text
        assert (b'"shop"' in text) is ("q=" not in address)
    assert "secret-agent" not in operator.get("/api/agents/").content.decode()


def test_a_run_out_of_scope_cannot_be_told_from_none(operator: Client, hidden: Run, settings: Settings) -> None:
    permissions = [f"gateway_runs.{name}" for name in ("view_run", "view_content", "cancel_run", "set_legal_hold")]
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": permissions}}
    keep(hidden)
    hold = set_hold(run=hidden.pk, by="nora", reason="secret case")

    def seen(method: str, run_id: object, address: str) -> tuple[int, str]:
        body = {"data": {"reason": "x"}, **JSON} if method == "post" else {}
        reply = getattr(operator, method)(f"/api/runs/{run_id}{address}", **body)
        return reply.status_code, reply.content.decode().replace(str(run_id), "")

    for asked in (
        ("get", ""),
        ("get", "/content"),
        ("post", "/cancel"),
        ("post", "/hold"),
        ("delete", "/hold?reason=x"),
    ):
        method, address = asked
        assert seen(method, hidden.pk, address) == seen(method, ids.new_run_id(), address)
        assert seen(method, hidden.pk, address)[0] == 404
    hidden.refresh_from_db()
    assert hidden.abort_requested_at is None
    assert list(LegalHold.objects.in_force()) == [hold]
    assert not AccessRecord.objects.filter(run=hidden.pk).exists()


def test_the_admin_obeys_the_scope_too(as_user: MakeUser, admin_client: Client, hidden: Run) -> None:
    pages = "/admin/gateway_runs/run/"
    addresses = (pages, f"{pages}?q={hidden.pk}", f"{pages}export/?format=csv")
    staff = as_user("view_run", "cancel_run")
    for client, sees in ((staff, False), (admin_client, True)):
        for address in addresses:
            reply = client.get(address)
            text = b"".join(reply) if reply.streaming else reply.content
            assert (b"elsewhere" in text) is sees, address
        assert client.get(f"{pages}{hidden.pk}/change/").status_code == (200 if sees else 302)
        assert client.get(f"{pages}cancel/?run={hidden.pk}").status_code == (200 if sees else 404)
    staff.post(f"{pages}cancel/", {"run": str(hidden.pk)})
    hidden.refresh_from_db()
    assert hidden.abort_requested_at is None
    admin_client.post(f"{pages}cancel/", {"run": str(hidden.pk)})
    hidden.refresh_from_db()
    assert hidden.abort_requested_at is not None


def test_stored_responses_obey_the_scope_too(as_user: MakeUser, admin_client: Client, hidden: Run) -> None:
    at = hidden.received_at
    StoredResponse.objects.create(id=hidden.pk, status="completed", created_at=at, expires_at=at)
    staff = as_user("view_storedresponse")
    pages = "/admin/gateway_responses/storedresponse/"
    for client, sees in ((staff, False), (admin_client, True)):
        assert (hidden.pk.hex in client.get(pages).content.decode()) is sees
        assert client.get(f"{pages}{hidden.pk}/change/").status_code == (200 if sees else 302)


def test_the_overview_is_only_for_who_sees_all_runs(as_user: MakeUser, admin_client: Client, hidden: Run) -> None:
    staff = as_user("view_run", "view_overview")
    for client, sees in ((staff, False), (admin_client, True)):
        assert client.get("/admin/gateway_runs/overview/").status_code == (200 if sees else 403)
        assert ("gateway_runs/overview/" in client.get("/admin/").content.decode()) is sees


def test_a_run_does_not_name_those_out_of_scope_that_continue_it(
    as_user: MakeUser, admin_client: Client, make_run: MakeRun, hidden: Run
) -> None:
    parent = make_run(principal_label="shop")
    seen = make_run(principal_label="shop", parent_run=parent.pk)
    Run.objects.filter(pk=hidden.pk).update(parent_run=parent.pk)
    for client, sees in ((as_user("view_run"), False), (admin_client, True)):
        page = client.get(f"/admin/gateway_runs/run/{parent.pk}/change/").content.decode()
        assert str(seen.pk) in page
        assert (str(hidden.pk) in page) is sees


# -- the shop's own classes -----------------------------------------------------------------------------


class ByHeader(BaseAuthentication):
    """A shop's own way to know its people."""

    def authenticate(self, request: Any) -> Any:
        name = request.headers.get("X-Shop-User")
        return None if name is None else (User.objects.get(username=name), None)


class AnybodyKnown(BasePermission):
    """A shop's own rule."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.is_authenticated)


class Never(BaseThrottle):
    """Enough."""

    def allow_request(self, request: Any, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 7


class TwoADay(UserRateThrottle):
    """DRF's own way to count."""

    rate = "2/day"


def test_drfs_throttles_count_each_key_for_itself(operator: Client, settings: Settings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"API": {"THROTTLES": [f"{__name__}.TwoADay"]}}
    _, text = APIKey.objects.create_key("other", operate=True)
    other = Client(headers={"Authorization": f"Bearer {text}"})
    cache.clear()
    assert [operator.get("/api/runs/").status_code for _ in range(3)] == [200, 200, 429]
    assert [other.get("/api/runs/").status_code for _ in range(3)] == [200, 200, 429]


def test_the_shops_own_classes_take_the_place_of_ours(operator: Client, make_run: MakeRun, settings: Settings) -> None:
    run = make_run("running")
    User.objects.create_user("sam")
    own = {"AUTHENTICATION": [f"{__name__}.ByHeader"], "PERMISSIONS": [f"{__name__}.AnybodyKnown"]}
    settings.GATEWAY = settings.GATEWAY | {"API": own}
    assert operator.get("/api/runs/").status_code == 403, "our keys are not asked for any more"
    assert Client().get("/api/runs/", headers={"X-Shop-User": "sam"}).status_code == 200
    Client().post(f"/api/runs/{run.pk}/cancel", **JSON, headers={"X-Shop-User": "sam"})
    run.refresh_from_db()
    assert run.abort_requested_by == "sam"
    settings.GATEWAY = settings.GATEWAY | {"API": own | {"THROTTLES": [f"{__name__}.Never"]}}
    refused = Client().get("/api/runs/", headers={"X-Shop-User": "sam"})
    assert (refused.status_code, refused["Retry-After"]) == (429, "7")


def test_the_shops_settings_of_drf_change_nothing_here(operator: Client, make_run: MakeRun, settings: Settings) -> None:
    settings.REST_FRAMEWORK = {
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
        "EXCEPTION_HANDLER": "tests.nowhere",
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
        "UNAUTHENTICATED_USER": None,
    }
    assert Client().get("/api/runs/").json()["error"]["code"] == "not_authenticated"
    reply = operator.get("/api/runs/", headers={"Accept": "text/html"})
    assert reply["Content-Type"] == "application/json"


def test_a_wrong_path_is_told_at_the_start(settings: Settings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": "no.where", "API": {"PERMISSIONS": ["no.thing"]}}
    told = [message.msg for message in run_checks(tags=["gateway"]) if message.id == "gateway.E007"]
    assert any("RUN_VISIBILITY" in text for text in told)
    assert any("['API']['PERMISSIONS']" in text for text in told)
