"""What a run's page says of its integrity."""

from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from gateway_project import clock
from gateway_project.runs.journal import CloseRun, InsertRun
from gateway_project.runs.models import Run
from gateway_project.runs.seals.chain import ChainWriter
from gateway_project.runs.seals.triggers import maintenance
from gateway_project.runs.vocabulary import RunStatus
from tests.review.conftest import MakeRun
from tests.runs.records import make_record

pytestmark = pytest.mark.django_db


def page(client: Client, run: Run) -> str:
    return client.get(f"/admin/gateway_runs/run/{run.pk}/change/").content.decode()


@pytest.fixture
def sealed() -> Run:
    record = make_record()
    with ChainWriter().transaction(connection):
        InsertRun(record).apply(connection)
        CloseRun(replace(record, status=RunStatus.COMPLETED, finished_at=clock.now())).apply(connection)
    return Run.objects.get()


def test_a_run_as_it_was_sealed(admin_client: Client, sealed: Run) -> None:
    assert "As sealed (seal 1 of chain " in page(admin_client, sealed)
    with maintenance(connection):
        Run.objects.update(output_tokens=4)
    assert "Not what was sealed (seal 1 of chain " in page(admin_client, sealed)
    with maintenance(connection):
        Run.objects.update(seal=None)
    assert "No seal knows it" in page(admin_client, sealed)


def test_an_open_run(admin_client: Client, make_run: MakeRun) -> None:
    assert "Sealed when it ends" in page(admin_client, make_run("running"))


def test_the_last_verification(admin_client: Client, sealed: Run) -> None:
    assert "Never: run manage.py verifyruns" in page(admin_client, sealed)
    call_command("verifyruns", verbosity=0)
    assert " UTC: clean<" in page(admin_client, sealed)
    with maintenance(connection):
        Run.objects.update(output_tokens=4)
    with pytest.raises(CommandError, match="not what was sealed"):
        call_command("verifyruns", verbosity=0)
    shown = page(admin_client, sealed)
    assert " UTC: 1 break<" in shown
    assert "is not what was sealed" not in shown, "it may name another run"
