"""Each page of the admin, asked for as a person would: its queries, their time, and how PostgreSQL runs them."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_project.review.models import AccessRecord
from gateway_project.review.paging import Position
from gateway_project.runs.models import Run, RunAlert, RunContent
from responses.models import StoredResponse
from tests.review.plans import ADDRESSES

LIST = "/admin/gateway_runs/run/"
LOOKS = "/admin/gateway_review/accessrecord/"
RESPONSES = "/admin/gateway_responses/storedresponse/"
ALERTS = "/admin/gateway_runs/runalert/"
OVERVIEW = "/admin/gateway_runs/overview/"
TIMES = 3
LARGE = tuple(model._meta.db_table for model in (Run, RunContent, AccessRecord, StoredResponse))


@dataclass(frozen=True)
class Result:
    """What one page cost."""

    name: str
    queries: int
    milliseconds: float
    scans: list[str]


def migrate() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


def disconnect() -> None:
    """So that the database can be dropped."""
    connection.close()


def measure() -> list[Result]:
    """Ask for each page: of the admin as a person, of the API with the same session."""
    began = time.perf_counter()
    call_command("rolluphours")
    print(f"counted in {time.perf_counter() - began:.1f} s")
    user, _ = User.objects.get_or_create(username="scale", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return [_measure(client, name, url) for name, url in _pages()]


def _pages() -> Iterable[tuple[str, str]]:
    some = Run.objects.filter(parent_run__isnull=False).exclude(client_request_id="").newest_first()[1000]
    told = Run.objects.filter(abort_outcome="stopped").newest_first()[1000]
    yield "list", LIST
    yield "list, last page", f"{LIST}?p=20"
    for question in ("running", "client-gone", "unresponsive", "slow-abort", "undelivered", "failed"):
        yield f"question {question}", f"{LIST}?question={question}"
    for name, value in {
        "status": "rejected",
        "abort_cause": "shutdown",
        "abort_phase": "preparing",
        "abort_outcome": "errored",
        "endpoint": "responses_compact",
        "agent": "retired",
        "model": some.model,
        "principal": some.principal_label,
        "key": some.principal_id,
        "client_address": some.client_address,
        "client_request_id": some.client_request_id,
        "worker": "worker-0",
        "parent_run": str(some.parent_run),
        "period": "24h",
    }.items():
        yield f"by {name}", f"{LIST}?{urlencode({name: value})}"
    for name in ("agent", "principal", "client_address", "worker", "status", "abort_cause", "model"):
        yield f"by unknown {name}", f"{LIST}?{urlencode({name: 'nobody'})}"
    since = {"since": "2000-01-01", "until": told.received_at.isoformat()}
    yield "by time, from and to", f"{LIST}?{urlencode(since)}"
    yield "agent, cause and 7 days", f"{LIST}?agent=agent-1&abort_cause=timeout&period=7d"
    yield "failed of a key, 30 days", f"{LIST}?status=failed&key={some.principal_id}&period=30d"
    yield "unresponsive of an agent", f"{LIST}?question=unresponsive&agent=agent-2"
    for name, term in {
        "id": str(some.pk),
        "principal": some.principal_label,
        "beginning of a request id": some.client_request_id[:10],
        "nothing that is there": "nobody has this",
        "a label": "user:customer 77",
        "a label of many": "metadata.tier:basic",
        "a label of nobody": "user:nobody",
    }.items():
        yield f"search {name}", f"{LIST}?{urlencode({'q': term})}"
    yield "a run", f"{LIST}{told.pk}/change/"
    yield "a run that continues another", f"{LIST}{some.pk}/change/"
    yield "a run's content", f"{LIST}{told.pk}/content/"
    yield "who looked", LOOKS
    for name, asked in {
        "at content": {"what": "content"},
        "and removed looks": {"what": "removal"},
        "by the command line": {"via": "command"},
        "of a name": {"q": "user 7"},
        "of nobody's name": {"q": "nobody"},
        "at a run": {"q": str(told.pk)},
    }.items():
        yield f"who looked, {name}", f"{LOOKS}?{urlencode(asked)}"
    yield "stored responses", RESPONSES
    for name, asked in {
        "completed": {"status": "completed"},
        "queued": {"status": "queued"},
        "failed": {"status": "failed"},
        "of the background": {"background": "1"},
        "cancelled, of the background": {"status": "cancelled", "background": "1"},
        "of a principal": {"q": some.principal_id},
        "of nobody": {"q": "nobody"},
    }.items():
        yield f"stored responses, {name}", f"{RESPONSES}?{urlencode(asked)}"
    yield "a stored response", f"{RESPONSES}{StoredResponse.objects.order_by('created_at')[1000].pk}/change/"
    yield "alerts", ALERTS
    yield "alerts of lost workers", f"{ALERTS}?event=run.worker_lost"
    yield "an alert", f"{ALERTS}{RunAlert.objects.order_by('due_at')[1000].pk}/change/"
    for span in ("24h", "7d", "30d"):
        yield f"overview {span}", f"{OVERVIEW}?range={span}"
    yield "overview 30d of an agent", f"{OVERVIEW}?range=30d&agent=agent-1"
    for address in ADDRESSES:
        if "/export" not in address:  # that reads what it sends
            cursor = Position(told.received_at, told.pk)
            yield address, address.format(run=told.pk, told=told.pk, cursor=cursor)


def _measure(client: Client, name: str, url: str) -> Result:
    """The best of some times: as on a machine that was asked before, and does nothing else."""
    client.get(url)
    results = [_once(client, name, url) for _ in range(TIMES)]
    return min(results, key=lambda result: result.milliseconds)


def _once(client: Client, name: str, url: str) -> Result:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url)
    assert response.status_code == 200, (name, response)
    asked = [query["sql"] for query in queries if query["sql"].lstrip("( ").upper().startswith("SELECT")]
    scans = [sql[:300] for sql in asked if any(table in sql for table in LARGE) and _scans(sql)]
    return Result(name, len(queries), sum(float(query["time"]) for query in queries) * 1000, scans)


def _scans(sql: str) -> bool:
    """Whether PostgreSQL reads all of a large table for it."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    (found,) = json.loads(plan) if isinstance(plan, str) else plan
    return _is_scan(found["Plan"])


def _is_scan(node: dict[str, Any]) -> bool:
    here = node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
    return here or any(_is_scan(child) for child in node.get("Plans", ()))
