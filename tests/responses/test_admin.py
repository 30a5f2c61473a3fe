"""Stored responses in the admin: seen, not read and not changed."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.admin import AdminSite
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse

from gateway_project import clock, ids
from gateway_project.admin_pages import bounded
from responses.admin import StoredResponseAdmin
from responses.models import StoredResponse

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway_responses/storedresponse/"
PRINCIPAL = uuid.UUID(int=17)

WITHOUT_RUNS = AdminSite()
WITHOUT_RUNS.register(StoredResponse, StoredResponseAdmin)
urlpatterns = [path("admin/", WITHOUT_RUNS.urls)]
"""An admin in which `gateway_project.review` is not installed."""


def stored_response() -> StoredResponse:
    return StoredResponse.objects.create(
        id=ids.new_run_id(),
        principal_kind="api_key",
        principal_id="17",
        status="completed",
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(days=1),
        input='["my question"]',
        body='{"output": "my answer"}',
    )


def test_the_admin_shows_that_it_is_there_and_not_what_it_says(admin_client: Client) -> None:
    response = stored_response()
    listed = admin_client.get(reverse("admin:gateway_responses_storedresponse_changelist"))
    page = admin_client.get(reverse("admin:gateway_responses_storedresponse_change", args=(response.pk,)))
    for shown in (listed.content.decode(), page.content.decode()):
        assert f"resp_{response.pk.hex}" in shown
        assert "my " not in shown
    assert admin_client.get(reverse("admin:gateway_responses_storedresponse_add")).status_code == 403
    assert (
        admin_client.post(reverse("admin:gateway_responses_storedresponse_delete", args=(response.pk,))).status_code
        == 403
    )


def test_its_page_leads_to_its_run(admin_client: Client) -> None:
    response = stored_response()
    page = admin_client.get(reverse("admin:gateway_responses_storedresponse_change", args=(response.pk,)))
    assert reverse("admin:gateway_runs_run_change", args=(response.pk,)) in page.content.decode()


def test_the_list_neither_counts_the_table_nor_reads_what_responses_say(admin_client: Client) -> None:
    stored_response()
    with CaptureQueriesContext(connection) as queries:
        assert len(admin_client.get(LIST).context["cl"].result_list) == 1
    asked = [query["sql"] for query in queries if "gateway_response" in query["sql"]]
    assert len(asked) == 2
    for sql in asked:
        assert "LIMIT" in sql
        assert not [column for column in ("request", "input", "body") if f'"{column}"' in sql]


def test_a_list_that_is_cut_says_so(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_LISTED", 2)
    for _ in range(3):
        stored_response()
    assert "The newest 2 are listed" in admin_client.get(LIST).content.decode()


@pytest.mark.urls(__name__)
def test_without_the_pages_of_runs_it_names_its_run(admin_client: Client) -> None:
    response = stored_response()
    page = admin_client.get(reverse("admin:gateway_responses_storedresponse_change", args=(response.pk,)))
    assert page.status_code == 200
    assert str(response.pk) in page.content.decode()


@pytest.mark.parametrize("spelling", ["resp_{hex}", "{id}", " chatcmpl-{hex} ", "17", "someone", "{principal}"])
def test_responses_are_found_by_id_and_by_principal(admin_client: Client, spelling: str) -> None:
    sought, other = stored_response(), stored_response()
    named = stored_response()  # For a user of a shop whose users' keys look like ids of runs.
    StoredResponse.objects.filter(pk=named.pk).update(principal_id=str(PRINCIPAL))
    asked = spelling.format(hex=sought.pk.hex, id=sought.pk, principal=PRINCIPAL)
    page = admin_client.get(LIST, {"q": asked})
    found = {response.pk for response in page.context["cl"].result_list}
    expected = {"17": {sought.pk, other.pk}, "someone": set(), "{principal}": {named.pk}}
    assert found == expected.get(spelling, {sought.pk})
