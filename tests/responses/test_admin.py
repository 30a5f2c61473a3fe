"""Stored responses in the admin: seen, not read and not changed."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project import clock, ids
from responses.models import StoredResponse

pytestmark = pytest.mark.django_db


def test_the_admin_shows_that_it_is_there_and_not_what_it_says(admin_client: Client) -> None:
    response = StoredResponse.objects.create(
        id=ids.new_run_id(),
        principal_kind="api_key",
        principal_id="17",
        status="completed",
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(days=1),
        input='["my question"]',
        body='{"output": "my answer"}',
    )
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
