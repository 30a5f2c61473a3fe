"""Who has no permission sees nothing, on any page and at any address of the API, whatever id he guesses."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import URLPattern

from gateway_project import clock, ids
from gateway_project.access.models import APIKey
from gateway_project.review.access import Onlooker, record_look
from gateway_project.review.admin.filters import CLICKED
from gateway_project.review.api.routes import urlpatterns
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from gateway_project.runs.alerts.outbox import SIGNAL
from gateway_project.runs.models import LegalHold, Run, RunAlert, Verification
from gateway_project.runs.retention.holds import set_hold
from responses.models import StoredResponse
from tests.review.conftest import MakeRun, MakeUser
from tests.review.test_content import keep

pytestmark = pytest.mark.django_db

TOLD = "confidential"
"""Stands in everything that is there to be seen."""

PERMISSION_OF = {
    Run: "view_run",
    LegalHold: "view_legalhold",
    RunAlert: "view_runalert",
    Verification: "view_verification",
    AccessRecord: "view_accessrecord",
    APIKey: "view_apikey",
    StoredResponse: "view_storedresponse",
}
JSON: dict[str, Any] = {"content_type": "application/json"}


@pytest.fixture
def there(make_run: MakeRun) -> dict[type[Any], Any]:
    """One of each that a page shows, by its model."""
    text = {"principal_label": TOLD, "agent": TOLD, "client_request_id": TOLD, "error_message": TOLD}
    run = make_run("running", **text)
    keep(run, request=f'{{"messages": ["{TOLD}"]}}')
    hold = set_hold(run=run.pk, by=TOLD, reason=TOLD)
    now = clock.now()
    alert = RunAlert.objects.create(
        run=run.pk, target=SIGNAL, event="failed", payload=f'{{"said":"{TOLD}"}}', due_at=now, last_error=TOLD
    )
    walk = Verification.objects.create(started_at=now, walked_at=now, finished_at=now, first_break=TOLD)
    record_look(Onlooker(AccessVia.API, "user", "1", TOLD), Accessed.CONTENT, run_id=run.pk)
    key, _ = APIKey.objects.create_key(TOLD)
    response = StoredResponse.objects.create(
        id=run.pk,
        principal_kind=TOLD,
        principal_id=TOLD,
        status="completed",
        created_at=now,
        expires_at=now + timedelta(days=1),
        input=TOLD,
        body=TOLD,
    )
    return {
        Run: run,
        LegalHold: hold,
        RunAlert: alert,
        Verification: walk,
        AccessRecord: AccessRecord.objects.get(),
        APIKey: key,
        StoredResponse: response,
    }


def pages(model: type[Any], row: Any) -> Iterator[str]:
    """All pages of a model: for this row, and for one that is not there."""
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    yield base
    yield f"{base}add/"
    for pk in (row.pk, uuid.UUID(int=7) if isinstance(row.pk, uuid.UUID) else row.pk + 1000):
        for page in ("change", "delete", "history"):
            yield f"{base}{pk}/{page}/"
    if model is Run:
        yield f"{base}export/?format=csv"
        yield f"{base}{row.pk}/content/"
        yield f"{base}{uuid.UUID(int=7)}/content/"
        yield f"{base}cancel/?run={row.pk}"
    if model is APIKey:
        yield f"{base}{row.pk}/revoke/"
        yield f"{base}{row.pk + 1000}/revoke/"


def sees(client: Client, page: str, method: str = "get") -> tuple[int, bool]:
    reply = getattr(client, method)(page)
    body = b"".join(reply) if reply.streaming else reply.content
    return reply.status_code, TOLD.encode() in body


def test_the_pages_that_are_asked_for_are_all_that_there_are() -> None:
    shown = {model for model in admin.site._registry if model._meta.app_label.startswith("gateway_")}
    assert {model.__name__ for model in shown} - {model.__name__ for model in PERMISSION_OF} == {"Overview"}


@pytest.mark.parametrize("model", PERMISSION_OF, ids=lambda model: model.__name__)
def test_a_list_filters_by_what_its_filters_take_and_by_nothing_else(
    there: dict[type[Any], Any], as_user: MakeUser, model: type[Any]
) -> None:
    listed, *_ = pages(model, there[model])
    owner = as_user(PERMISSION_OF[model])
    offered = owner.get(listed).context["cl"].filter_specs
    taken = {name for spec in offered for name in spec.expected_parameters()} | {"q"}
    filtered = {name.split("__")[0] for name in taken} | set(CLICKED.values())
    for column in model._meta.get_fields():
        for lookup in ("", "__exact", "__contains", "__startswith", "__gt", "__regex"):
            if column.name not in filtered or lookup not in ("", "__exact"):
                assert owner.get(listed, {f"{column.name}{lookup}": "c"}).status_code == 400, (column, lookup)
    for name in taken:
        assert owner.get(listed, {name: "1"}).status_code == 200, name


def test_no_page_is_for_who_has_no_permission_or_another_one(there: dict[type[Any], Any], as_user: MakeUser) -> None:
    nobody = as_user(name="nobody")
    for model, row in there.items():
        others = [permission for other, permission in PERMISSION_OF.items() if other is not model]
        stranger = as_user(*others, name=f"all but {model.__name__}")
        owner = as_user(PERMISSION_OF[model], name=f"only {model.__name__}")
        listed, *_ = pages(model, row)
        assert sees(owner, listed)[0] == 200, "so it is the permission that is missing"
        for page in pages(model, row):
            for client in (nobody, stranger):
                for method in ("get", "post"):
                    assert sees(client, page, method) == (403, False), page
    assert sees(nobody, "/admin/gateway_runs/overview/") == (403, False)


def test_no_page_is_for_who_is_not_of_the_staff_or_not_logged_in(there: dict[type[Any], Any]) -> None:
    customer = Client()
    user = User.objects.create_user("customer")
    user.user_permissions.set(Permission.objects.filter(codename__in=PERMISSION_OF.values()))
    customer.force_login(user)
    for model, row in there.items():
        for page in pages(model, row):
            for client in (Client(), customer):
                reply = client.get(page)
                assert (reply.status_code, "/admin/login/" in reply.headers["Location"]) == (302, True), page


def operations() -> Iterator[tuple[str, str]]:
    """Each method of each address, as the routes have them, so that none is forgotten."""
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        view: Any = pattern.callback
        for method in view.cls.operations:
            yield method.lower(), f"/api/{pattern.pattern}"


@pytest.mark.parametrize(("method", "address"), list(operations()))
def test_no_address_of_the_api_is_for_who_has_no_permission(
    there: dict[type[Any], Any], as_user: MakeUser, settings: Any, method: str, address: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": []}}
    _, text = APIKey.objects.create_key("ops", operate=True)
    key = Client(headers={"Authorization": f"Bearer {text}"})
    for run_id in (there[Run].pk, ids.response_id(there[Run].pk), ids.new_run_id(), "nonsense"):
        url = address.replace("<str:run_id>", str(run_id)).replace("<int:key_id>", "1") + "?reason=x"
        body = {"data": {"reason": "x", "name": "x"}, **JSON} if method == "post" else {}
        for client, status in ((as_user(name=f"nobody {run_id}"), 403), (key, 403), (Client(), 401)):
            reply = getattr(client, method)(url, **body)
            assert (reply.status_code, TOLD in reply.content.decode()) == (status, False), url
    assert not APIKey.objects.filter(name="x").exists()
    assert LegalHold.objects.in_force().count() == 1
    there[Run].refresh_from_db()
    assert there[Run].abort_requested_at is None
    assert AccessRecord.objects.count() == 1, "who saw nothing has not looked"
