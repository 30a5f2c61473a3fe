"""Nobody writes a record through the admin: not even a superuser."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.forms.models import model_to_dict
from django.test import Client, RequestFactory

from gateway_project.runs.models import Run, RunNote
from tests.review.conftest import MakeRun, MakeUser

LIST = "/admin/gateway_runs/run/"


def test_no_permission_but_to_view_is_given_to_a_superuser(admin_user: User, make_run: MakeRun) -> None:
    request = RequestFactory().get(LIST)
    request.user = admin_user
    run_admin = admin.site.get_model_admin(Run)
    for run in (None, make_run()):
        assert run_admin.has_view_permission(request, run)
        assert not run_admin.has_change_permission(request, run)
        assert not run_admin.has_delete_permission(request, run)
    assert not run_admin.has_add_permission(request)
    assert set(run_admin.get_actions(request)) == {"cancel_selected"}
    assert not admin.site.is_registered(RunNote)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ["add/", "{}/delete/"])
def test_nothing_can_be_added_or_deleted(admin_client: Client, make_run: MakeRun, method: str, page: str) -> None:
    run = make_run()
    response = getattr(admin_client, method)(LIST + page.format(run.pk), {"post": "yes"})
    assert response.status_code == 403
    assert list(Run.objects.all()) == [run]


def test_nothing_can_be_changed(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run("unresponsive")
    before = model_to_dict(run)
    posted = {"status": "completed", "abort_outcome": "stopped", "principal_label": "nobody", "_save": "Save"}
    assert admin_client.post(f"{LIST}{run.pk}/change/", posted).status_code == 403
    assert model_to_dict(Run.objects.get()) == before


def test_the_deleting_action_of_the_site_is_not_offered(admin_client: Client, make_run: MakeRun) -> None:
    run = make_run()
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": [run.pk], "post": "yes"})
    assert Run.objects.filter(pk=run.pk).exists()


def test_there_is_no_field_and_no_button_to_save(admin_client: Client, make_run: MakeRun) -> None:
    page = admin_client.get(f"{LIST}{make_run().pk}/change/").content.decode()
    form = page[page.index('id="run_form"') : page.index("</form>", page.index('id="run_form"'))]
    assert 'name="_save' not in form
    assert 'name="_continue' not in form
    assert form.count("<input") == form.count('type="hidden"')
    assert "<textarea" not in form
    assert "<select" not in form


def test_reading_needs_the_permission_to_view_and_no_other(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run("running")
    page = as_user("view_run").get(f"{LIST}{run.pk}/change/")
    assert page.status_code == 200
    assert "Cancel this run" not in page.content.decode()
