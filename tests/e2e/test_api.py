"""The operators' API over a real server: the guide's lines run, and an export goes out as it is read."""

import json
import os
import subprocess
import time

import pytest

from gateway_project.conf import APISettings
from gateway_project.runs.models import Run
from tests.docs import DOCS
from tests.e2e.abort.test_records import open_run, run_ids
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, Store, base_env, manage
from tests.e2e.platform.test_facts import resident_bytes
from tests.e2e.routes import ROUTES
from tests.e2e.wire import Client, ask
from tests.test_docs import blocks

pytestmark = [pytest.mark.e2e]

RUNS = 30_000
MIB = 1024 * 1024


def operator_of(gateway: Gateway) -> str:
    """A key that may operate."""
    env = base_env() | {"DATABASE_URL": gateway.store.url}
    return manage("createkey", "operator", "--operate", env=env).splitlines()[-1]


def test_the_lines_of_the_guide_run(make_gateway: MakeGateway) -> None:
    permitted = (*APISettings().KEY_PERMISSIONS, "gateway_runs.set_legal_hold")
    gateway = make_gateway(API={"KEY_PERMISSIONS": permitted})
    before = run_ids(gateway)
    client = Client(gateway.port)
    client.send("POST", ROUTES[0].path, key=gateway.key, body=ROUTES[0].body("scripted/slow-3000x20ms", stream=True))
    run = open_run(gateway, before)["id"]
    script = "".join(blocks(DOCS / "api.md", "sh"))
    env = os.environ | {"KEY": operator_of(gateway), "GATEWAY": f"http://127.0.0.1:{gateway.port}", "RUN": run}
    said = []
    for line in script.splitlines():
        done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
        said.append(done.stdout)
    page, shown, cancelled, table, agents, held, lifted = said
    assert json.loads(page)["results"] == []
    assert json.loads(shown)["id"] == run
    assert json.loads(cancelled) == {"id": run, "result": "asked"}
    assert table.startswith("id,status,")
    assert {agent["name"] for agent in json.loads(agents)["results"]} >= {"scripted"}
    assert gateway.store.ended(run)["abort_reason"] == "too dear"
    assert [json.loads(answer)["held"] for answer in (held, lifted)] == [True, False]


def test_an_export_waits_for_its_reader_in_constant_memory(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    body = ROUTES[0].body("scripted/echo", stream=False)
    ask(gateway.port, "POST", ROUTES[0].path, key=gateway.key, body=body)
    gateway.store.ended(gateway.store.runs()[0]["id"])
    multiply(gateway.store, RUNS)
    key = operator_of(gateway)
    assert ask(gateway.port, "GET", "/api/runs/?limit=1", key=key).status == 200
    before = resident_bytes(gateway.pid)
    client = Client(gateway.port)
    client.send("GET", "/api/runs/export", key=key)
    head = client.read_head()
    assert (head.status, head.headers["content-type"]) == (200, "application/x-ndjson")
    most, until = 0, time.monotonic() + 2
    while time.monotonic() < until:  # Nobody reads. What is made all the same stays in the server.
        most = max(most, resident_bytes(gateway.pid))
        time.sleep(0.05)
    size = lines = 0
    for chunk in client.read_chunks():
        size += len(chunk)
        lines += chunk.count(b"\n")
        most = max(most, resident_bytes(gateway.pid))
    assert lines == RUNS + 1
    assert size > 30 * MIB
    assert most - before < 15 * MIB, f"{(most - before) / MIB:.0f} MiB for {size / MIB:.0f} MiB"


def multiply(store: Store, count: int) -> None:
    """Copy the one run so many times."""
    names = [str(field.column) for field in Run._meta.fields if field.name != "id"]
    new_id = "lower(hex(randomblob(16)))" if store.kind == "sqlite" else "gen_random_uuid()"
    store.query(
        f"INSERT INTO gateway_run (id, {', '.join(names)}) "
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"SELECT {new_id}, {', '.join(names)} FROM gateway_run, n"
    )
