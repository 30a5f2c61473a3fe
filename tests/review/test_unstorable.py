"""Values that no database holds find nothing, on PostgreSQL too, which refuses a query with them."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from tests.review.conftest import MakeRun

RUNS = "/admin/gateway_runs/run/"
OF_COLUMNS = ("principal", "key", "model", "agent", "client_request_id", "client_address", "worker", "parent_run")


@pytest.mark.parametrize("name", [*OF_COLUMNS, "status", "question", "period"])
def test_a_filter_of_the_list(admin_client: Client, make_run: MakeRun, name: str) -> None:
    make_run(client_request_id="a")
    reply = admin_client.get(f"{RUNS}?{name}=a%00")
    assert reply.status_code == 200
    assert not reply.context["cl"].result_list


@pytest.mark.parametrize("query", [*(f"{name}=a%00" for name in OF_COLUMNS), "q=a%00"])
def test_an_export(admin_client: Client, make_run: MakeRun, query: str) -> None:
    make_run(client_request_id="a")
    reply = admin_client.get(f"{RUNS}export/?format=jsonl&{query}")
    assert (reply.status_code, b"".join(reply)) == (200, b"")


def test_an_export_by_command(make_run: MakeRun) -> None:
    make_run()
    out = StringIO()
    call_command("exportruns", "--principal", "a\udcff", stdout=out)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "address",
    [
        "gateway_review/accessrecord/?what=%00",
        "gateway_runs/runalert/?event=%00",
        "gateway_responses/storedresponse/?status__exact=%00",
    ],
)
def test_another_list(admin_client: Client, address: str) -> None:
    admin_client.get(RUNS)
    reply = admin_client.get(f"/admin/{address}")
    assert reply.status_code == 200
    assert not reply.context["cl"].result_list


def test_the_overview_of_an_agent(admin_client: Client, make_run: MakeRun) -> None:
    make_run()
    reply = admin_client.get("/admin/gateway_runs/overview/?agent=%00")
    assert reply.status_code == 200
    assert reply.context["figures"].total == 0
