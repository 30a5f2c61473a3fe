"""The agents in the operators' API."""

from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from gateway_project.runs.vocabulary import RunStatus
from tests.review.conftest import MakeRun

SECRET = "sk-do-not-show"


def test_each_agent_with_its_state_and_limits(
    operator: Client, make_run: MakeRun, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    backend = "gateway_project.agents.scripted.ScriptedAgent"
    settings.GATEWAY = settings.GATEWAY | {
        "TIMEOUT_SECONDS": 50,
        "AGENTS": {
            "busy": {"BACKEND": backend, "CONCURRENT_RUNS": 2, "GRACE_SECONDS": 1.5},
            "idle": {"BACKEND": backend, "ON_DISCONNECT": "finish", "OPTIONS": {"api_key": SECRET}},
        },
    }
    for _ in range(2):
        make_run("running", agent="busy")
    make_run("running", agent="busy", status=RunStatus.QUEUED)
    make_run("completed", agent="idle")
    make_run("running", agent="retired")
    with django_assert_num_queries(2):  # key, open runs
        reply = operator.get("/api/agents/")
    assert SECRET not in reply.content.decode()
    busy, idle, retired = reply.json()["results"]
    assert busy == {
        "name": "busy",
        "configured": True,
        "backend": backend,
        "on_disconnect": "cancel",
        "running": 2,
        "queued": 1,
        "limits": {
            "concurrent_runs": 2,
            "timeout_seconds": 50,
            "first_output_seconds": None,
            "grace_seconds": 1.5,
        },
    }
    assert (idle["name"], idle["running"], idle["queued"], idle["on_disconnect"]) == ("idle", 0, 0, "finish")
    assert (retired["configured"], retired["running"], retired["limits"]) == (False, 1, None)
