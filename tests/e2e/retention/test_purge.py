"""Purging and erasing beside a gateway that serves: stopped or killed in the middle, and what is left of a person."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import ROOT, Gateway, Store, manage, wait_for
from tests.e2e.responses.client import answer_of, respond
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

RUNS = 12

_SLOWLY = """
import sys, time, django
django.setup()
from django.core.management import execute_from_command_line
from gateway_project.runs.retention import pages

def slow(kind):
    removed = kind.apply
    def apply(self, connection):
        page = removed(self, connection)
        time.sleep(0.3)  # in the transaction, so that it is there that a signal comes
        return page
    kind.apply = apply

slow(pages.PurgePage), slow(pages.ErasePage)
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def begin(gateway: Gateway, *arguments: str) -> "subprocess.Popen[str]":
    """A command that takes its time for each transaction."""
    env = gateway.env | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    command = [sys.executable, "-c", _SLOWLY, *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def left(store: Store) -> int:
    """How many runs there are."""
    return int(store.query("SELECT COUNT(*) AS number FROM gateway_run")[0]["number"])


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_a_purge_that_is_ended_in_the_middle_goes_on_with_the_next_start(
    make_gateway: MakeGateway, end: signal.Signals
) -> None:
    gateway = make_gateway()
    for _ in range(RUNS):
        assert respond(gateway, "scripted/count-2").status == 200
    wait_for(lambda: not gateway.store.query("SELECT 1 FROM gateway_run WHERE status = 'running'"), what="all ends")
    purge = begin(gateway, "purgeruns", "--older-than", "0m", "--batch", "1")
    wait_for(lambda: left(gateway.store) < RUNS - 2, within=30, what="the purge")
    purge.send_signal(end)
    out, error = purge.communicate(timeout=30)
    remaining = left(gateway.store)
    assert 0 < remaining < RUNS - 2, error
    if end is not signal.SIGKILL:
        assert purge.returncode == 130, error
        assert out == f"Purged {RUNS - remaining} runs.\n"
        assert error.strip().endswith("Stopped. The next start goes on.")
    assert "Clean" in manage("verifyruns", env=gateway.env)
    responses = gateway.store.query("SELECT COUNT(*) AS number FROM gateway_response")[0]["number"]
    assert responses == remaining, "a run and what belongs to it go together"
    assert manage("purgeruns", "--older-than", "0m", env=gateway.env) == f"Purged {remaining} runs.\n"
    assert left(gateway.store) == 0
    assert "Clean" in manage("verifyruns", env=gateway.env)


def test_runs_go_on_while_others_are_purged(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    for _ in range(RUNS):
        assert respond(gateway, "scripted/count-2").status == 200
    purge = begin(gateway, "purgeruns", "--older-than", "0m", "--batch", "1")
    wait_for(lambda: left(gateway.store) < RUNS, within=30, what="the purge")
    served = 0
    while purge.poll() is None:
        assert respond(gateway, "scripted/count-2").status == 200
        served += 1
    out, error = purge.communicate()
    assert purge.returncode == 0, error
    assert served > 3
    assert out == f"Purged {RUNS} runs.\n"
    assert "Clean" in manage("verifyruns", env=gateway.env)


def test_what_its_client_deletes_under_a_hold_is_gone_for_the_client_alone(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    response = answer_of(respond(gateway, "scripted/echo"))["id"]
    manage("legalhold", "--run", response, "--reason", "case 12", env=gateway.env)
    path = f"/v1/responses/{response}"
    assert ask(gateway.port, "DELETE", path, key=gateway.key).json["deleted"] is True
    assert ask(gateway.port, "GET", path, key=gateway.key).status == 404
    assert ask(gateway.port, "DELETE", path, key=gateway.key).status == 404
    count = "SELECT COUNT(*) AS number FROM gateway_response"
    manage("purgeresponses", env=gateway.env)
    manage("purgeruns", "--older-than", "0m", "--content-older-than", "0m", env=gateway.env)
    assert gateway.store.query(count)[0]["number"] == left(gateway.store) == 1
    manage("legalhold", "--lift", "1", "--reason", "closed", env=gateway.env)
    assert manage("purgeresponses", env=gateway.env) == "Deleted 1 stored responses.\n"


def dump(store: Store) -> Iterator[str]:
    """Every row of every table, as text."""
    if store.kind == "sqlite":
        connection = sqlite3.connect(store.path)
        yield from connection.iterdump()
        connection.close()
        return
    for row in store.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        name = row["tablename"]
        for line in store.query(f'SELECT t::text AS line FROM "{name}" t'):
            yield f"{name}: {line['line']}"


SECRETS = ("nina-of-the-shop", "127.0.0.1", "nina-agent/7", "order-nina-1", "nina@example.org", "tell nina a story")


def naming(store: Store) -> dict[str, str]:
    """Which of the secrets stand in the database, with a line that has it."""
    return {secret: line for line in dump(store) for secret in SECRETS if secret in line}


def ask_as(gateway: Gateway, key: str, model: str, **body: object) -> Client:
    client = Client(gateway.port)
    whole = {"model": model, "input": "tell nina a story", "user": "nina@example.org", **body}
    headers = {"User-Agent": "nina-agent/7", "X-Client-Request-Id": "order-nina-1"}
    client.send("POST", "/v1/responses", key=key, body=whole, headers=headers)
    return client


def test_nothing_in_the_database_names_an_erased_principal(make_gateway: MakeGateway, tmp_path: Path) -> None:
    gateway = make_gateway(CONTENT="full")
    key = manage("createkey", SECRETS[0], "--operate", env=gateway.env).splitlines()[-1]
    for _ in range(3):
        assert answer_of(ask_as(gateway, key, "scripted/echo").read_reply())["status"] == "completed"
    running = "SELECT * FROM gateway_run WHERE status = 'running'"
    background = ask_as(gateway, key, "scripted/think-60000ms", background=True).read_reply()
    cancel = f"/v1/responses/{answer_of(background)['id']}/cancel"
    assert ask(gateway.port, "POST", cancel, key=key).status == 200
    left_early = ask_as(gateway, key, "scripted/slow-50x100ms", stream=True)
    left_early.read_until(b"response.output_text.delta")
    left_early.leave("rst")
    wait_for(lambda: not gateway.store.query(running), what="the ends of the others")
    open_one = ask_as(gateway, key, "scripted/think-60000ms", stream=True)
    wait_for(lambda: len(gateway.store.query(running)) == 1, what="one open run")
    assert respond(gateway, "scripted/echo").status == 200  # somebody else's
    looked_for = f"/api/runs/?{urlencode({'principal': SECRETS[0]})}"
    assert ask(gateway.port, "GET", looked_for, key=key).status == 200
    assert set(naming(gateway.store)) == set(SECRETS)
    [contents] = gateway.store.query("SELECT count(*) AS number FROM gateway_run_content")
    assert contents["number"] == 6

    refused = subprocess.run(
        [sys.executable, "manage.py", "eraseprincipal", "--label", SECRETS[0], "--batch", "2"],
        **{"cwd": ROOT, "env": gateway.env, "capture_output": True, "text": True},  # type: ignore[call-overload]
    )
    assert refused.returncode == 1
    assert refused.stdout == "Revoked the API key.\nErased 5 runs.\n"
    assert "left 1 run still open. Run it again later." in refused.stderr

    open_one.leave("fin")
    wait_for(lambda: not gateway.store.query(running), what="the end of the open run")
    assert manage("eraseprincipal", "--label", SECRETS[0], env=gateway.env) == "Erased 1 run.\nDeleted the API key.\n"
    others = naming(gateway.store)
    assert set(others) <= {"127.0.0.1"}, others
    assert "127.0.0.1" in others, "somebody else's run is as it was"
    assert "Clean" in manage("verifyruns", env=gateway.env)
    assert left(gateway.store) == 7
    statuses = [row["status"] for row in gateway.store.runs()]
    assert sorted(statuses) == ["aborted"] * 3 + ["completed"] * 4
    assert ask_as(gateway, key, "scripted/echo").read_reply().status == 401
    assert len([row for row in gateway.store.runs() if row["principal_id"]]) == 1
    manage("purgeruns", "--older-than", "0m", env=gateway.env)
    assert naming(gateway.store) == {}


def test_an_erasure_that_is_killed_goes_on_with_the_next_start(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    key = manage("createkey", SECRETS[0], env=gateway.env).splitlines()[-1]
    for _ in range(RUNS):
        assert ask_as(gateway, key, "scripted/count-2").read_reply().status == 200
    named = "SELECT COUNT(*) AS number FROM gateway_run WHERE principal_label <> ''"
    erasure = begin(gateway, "eraseprincipal", "--label", SECRETS[0], "--batch", "1")
    wait_for(lambda: gateway.store.query(named)[0]["number"] < RUNS - 2, within=30, what="the erasure")
    erasure.kill()
    erasure.communicate()
    remaining = gateway.store.query(named)[0]["number"]
    assert 0 < remaining < RUNS - 2
    assert "Clean" in manage("verifyruns", env=gateway.env)
    assert f"Erased {remaining} run" in manage("eraseprincipal", "--label", SECRETS[0], env=gateway.env)
    assert naming(gateway.store) == {}
    assert "Clean" in manage("verifyruns", env=gateway.env)
