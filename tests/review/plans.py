"""What the API and the admin's export ask PostgreSQL, and how it answers, on so many runs.

``DATABASE_URL=postgres://… python -m tests.review.plans 30000`` in an empty, migrated database prints a JSON object
for each address: how many queries it asked, those that read the table from end to end, the most rows that one of them
looked at, and how long the slowest took.
"""

import json
import os
import sys
from typing import Any

import django

EXPRESSIONS = {
    "id": "gen_random_uuid()",
    "status": "CASE WHEN i < 20 THEN 'running' WHEN i % 100 = 0 THEN 'failed' WHEN i % 50 = 0 THEN 'aborted'"
    " ELSE 'completed' END",
    "endpoint": "'responses'",
    "agent": "'scripted'",
    "model": "'model ' || i % 7",
    "principal_kind": "'api_key'",
    "principal_id": "(i % 1000)::text",
    "principal_label": "'principal ' || i % 1000",
    "client_request_id": "'request ' || i",
    "received_at": "now() - i * interval '1 second'",
    "finished_at": "CASE WHEN i < 20 THEN NULL ELSE now() END",
    "delivered": "i % 50 <> 0",
    "abort_outcome": "CASE WHEN i % 5000 = 0 THEN 'unresponsive' WHEN i % 50 = 0 THEN 'stopped' ELSE '' END",
    "parameters": "'{}'",
}
LABELS = """
    INSERT INTO gateway_run_label (run_id, name, value)
    SELECT id, 'user', 'customer ' || split_part(principal_label, ' ', 2) FROM gateway_run
    UNION ALL SELECT id, 'metadata.tier', 'basic' FROM gateway_run
"""
"""A label that few share, and one that all do."""

CONTENTS = """
    INSERT INTO gateway_run_content (
        id, run_id, at, mode, remarks, request, request_digest, request_characters,
        answer, answer_digest, answer_characters, delivered_characters)
    SELECT gen_random_uuid(), id, received_at, 'full', '', '{"messages": []}', '', 0, '[]', '', 0, 0
    FROM gateway_run WHERE abort_outcome <> ''
"""
CHAINS = """
    INSERT INTO gateway_chain (id, writer, head_number, head_hash, head_at, named_number)
    SELECT gen_random_uuid(), 'host:' || i, 5, sha256(i::text::bytea), now(), CASE WHEN i < 3 THEN 4 ELSE 5 END
    FROM generate_series(1, 1000) i
"""
"""Of as many processes as a few months see; three of them have grown since another named them."""

ADDRESSES = (
    "/api/runs/",
    "/api/runs/?limit=200&cursor={cursor}",
    "/api/runs/?status=failed",
    "/api/runs/?status=completed&cursor={cursor}",
    "/api/runs/?question=running",
    "/api/runs/?question=unresponsive",
    "/api/runs/?question=undelivered&cursor={cursor}",
    "/api/runs/?question=slow-abort",
    "/api/runs/?question=client-gone",
    "/api/runs/?principal=principal+7",
    "/api/runs/?principal=nobody",
    "/api/runs/?abort_outcome=stopped&status=aborted",
    "/api/runs/?period=1h&agent=nobody",
    "/api/runs/?since=2020-01-01&until=2030-01-01&model=none&client_address=none&worker=none",
    "/api/runs/?key=none",
    "/api/runs/?parent_run={run}",
    "/api/runs/?abort_cause=client_disconnect&abort_phase=streaming",
    "/api/runs/?model=model+3&cursor={cursor}",
    "/api/runs/?client_request_id=none",
    "/api/runs/?q=nobody",
    "/api/runs/?q={run}",
    "/api/runs/?q=user:customer+7",
    "/api/runs/?q=metadata.tier:basic",
    "/api/runs/?q=user:nobody",
    "/api/runs/{run}",
    "/api/runs/{told}/content",
    "/api/runs/export?question=unresponsive",
    "/api/runs/export?question=client-gone",
    "/api/runs/export?period=1h&status=failed&format=csv",
    "/api/agents/",
    "/api/seals/",
    "/api/keys/",
)


def fill(count: int) -> None:
    """Make so many runs."""
    from django.db import connection

    from gateway_project.runs.models import Run

    defaults = {"CharField": "''", "BooleanField": "false"}
    values = {
        str(field.column): EXPRESSIONS.get(field.name)
        or ("NULL" if field.null else defaults.get(field.get_internal_type(), "0"))
        for field in Run._meta.fields
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO gateway_run ({', '.join(values)}) "
            f"SELECT {', '.join(values.values())} FROM generate_series(0, {count - 1}) i"
        )
        for rows in (LABELS, CONTENTS, CHAINS):
            cursor.execute(rows)
        cursor.execute("VACUUM ANALYZE gateway_run, gateway_run_label, gateway_run_content, gateway_chain")


def look(client: Any, address: str) -> dict[str, Any]:
    """Ask for one address; tell what its queries cost."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        reply = client.get(address)
        body = b"".join(reply) if reply.streaming else reply.content
    assert reply.status_code == 200, (address, body)
    scans, slowest, most = [], 0.0, 0
    for query in captured:
        if "gateway_run" not in query["sql"] or not query["sql"].startswith("SELECT"):
            continue
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"])
            [[[plan]]] = cursor.fetchall()
        slowest = max(slowest, plan["Execution Time"])
        most = max(most, rows_read(plan["Plan"]))
        if "Seq Scan" in json.dumps(plan):
            scans.append(query["sql"])
    return {"address": address, "queries": len(captured), "slowest_ms": slowest, "rows": most, "scans": scans}


def rows_read(node: dict[str, Any]) -> int:
    """The most rows that the node or one below it looked at."""
    here: int = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return max([here, *map(rows_read, node.get("Plans", ()))])


def main() -> None:
    """Fill, ask, print."""
    django.setup()
    from django.conf import settings
    from django.test import Client

    from gateway_project import clock
    from gateway_project.access.models import APIKey
    from gateway_project.review.paging import Position
    from gateway_project.runs.models import Run

    settings.GATEWAY["API"] = {
        "KEY_PERMISSIONS": [
            *("gateway_runs.view_run", "gateway_runs.view_content", "gateway_runs.view_seal"),
            "gateway_access.view_apikey",
        ]
    }
    fill(int(sys.argv[1]))
    key, text = APIKey.objects.create_key("plans", operate=True)
    APIKey.objects.filter(pk=key.pk).update(last_used_at=clock.now())
    client = Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {text}"})
    run = Run.objects.order_by("received_at")[int(sys.argv[1]) // 2]
    cursor = Position(run.received_at, run.pk)
    told = Run.objects.exclude(abort_outcome="").latest("received_at")
    for address in ADDRESSES:
        print(json.dumps(look(client, address.format(run=run.pk, told=told.pk, cursor=cursor))))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    main()
