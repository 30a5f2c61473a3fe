"""Which ends are announced, to whom, and what is said of them. In the transaction of the end itself."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from gateway_project import clock
from gateway_project.runs.alerts import outbox
from gateway_project.runs.alerts.outbox import SIGNAL, target_of
from gateway_project.runs.journal import CloseRun, InsertRun
from gateway_project.runs.models import RunAlert
from gateway_project.runs.record import RunRecord, bare_end
from gateway_project.runs.seals.removal import PurgeRuns
from gateway_project.runs.signals import run_ended_badly
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, RunStatus
from tests.runs.alerts.receiver import SECRET
from tests.runs.records import make_record
from tests.runs.seals.conftest import PERSON, Writer, ended

pytestmark = pytest.mark.django_db

URLS = ["https://a.example/hook?token=geheim", "http://10.0.0.7:9000/"]


@pytest.fixture(autouse=True)
def _webhook(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": {"URLS": URLS, "SECRETS": [SECRET]}}
    monkeypatch.setattr(outbox._fullness, "_looked_at", None)


def close(**fields: Any) -> RunRecord:
    record = make_record(**PERSON)
    Writer().commit(InsertRun(record))
    end = ended(record, **fields)
    Writer().commit(CloseRun(end))
    return end


FAILED = {
    "status": RunStatus.FAILED,
    "abort_cause": "",
    "abort_outcome": "",
    "abort_requested_at": None,
    "error_code": "upstream_down",
    "error_message": "nina's upstream is down",
}
LOST = {"abort_cause": AbortCause.WORKER_LOST, "abort_outcome": AbortOutcome.UNKNOWN, "settled_at": None}
STUCK = {"abort_outcome": AbortOutcome.UNRESPONSIVE, "settled_at": None}


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        (FAILED, "failed"),
        (LOST, "worker_lost"),
        (STUCK, "unresponsive"),
        (LOST | STUCK | {"abort_cause": AbortCause.WORKER_LOST}, "unresponsive"),
        ({}, None),
        ({"status": RunStatus.COMPLETED}, None),
    ],
)
def test_bad_ends_are_announced_to_each_address(fields: dict[str, Any], event: str | None) -> None:
    end = close(**fields)
    found = set(RunAlert.objects.values_list("run", "event", "target", "attempts"))
    assert found == ({(end.id, event, target_of(url), 0) for url in URLS} if event else set())


def test_the_message_says_what_happened_and_names_nobody() -> None:
    end = close(**FAILED)
    [first, second] = RunAlert.objects.all()
    assert first.payload == second.payload
    message = json.loads(first.payload)
    assert end.finished_at is not None
    assert message == {
        "type": "run.failed",
        "timestamp": end.finished_at.isoformat(timespec="microseconds"),
        "data": {
            "run_id": str(end.id),
            "status": "failed",
            "abort_cause": None,
            "abort_outcome": None,
            "agent": "scripted",
            "endpoint": "chat_completions",
            "received_at": end.received_at.isoformat(timespec="microseconds"),
            "started_at": end.started_at and end.started_at.isoformat(timespec="microseconds"),
            "abort_requested_at": None,
            "finished_at": end.finished_at.isoformat(timespec="microseconds"),
            "error_code": "upstream_down",
        },
    }
    for person in ("nina", "192.0.2.7", "curl", "order-1"):
        assert person not in first.payload
    assert "geheim" not in str(list(RunAlert.objects.values())), "an address may hold a secret"


def test_a_run_that_failed_before_its_row_was_made_is_announced_too() -> None:
    record = make_record(status=RunStatus.FAILED, finished_at=clock.now(), error_code="x")
    Writer().commit(InsertRun(record))
    assert RunAlert.objects.count() == 2
    Writer().commit(InsertRun(record))
    assert RunAlert.objects.count() == 2, "the same row again"


def test_an_end_that_came_second_is_announced_once() -> None:
    end = close(**LOST)
    Writer().commit(CloseRun(end), CloseRun(replace(end, status=RunStatus.FAILED, finished_at=clock.now())))
    assert RunAlert.objects.count() == 2


def test_a_bare_end_still_says_which_agent() -> None:
    record = make_record()
    Writer().commit(InsertRun(record))
    Writer().commit(CloseRun(bare_end(ended(record, **FAILED))))
    assert {json.loads(alert.payload)["data"]["agent"] for alert in RunAlert.objects.all()} == {"scripted"}


def test_an_end_that_is_rolled_back_is_announced_to_nobody() -> None:
    record = make_record()
    writer = Writer()
    writer.commit(InsertRun(record))
    with pytest.raises(ZeroDivisionError), writer.chain.transaction(connection):
        CloseRun(ended(record, **FAILED)).apply(connection)
        raise ZeroDivisionError
    assert not RunAlert.objects.exists()


def test_who_wants_some_ends_only_is_told_of_these(settings: Any) -> None:
    webhook = {"URLS": URLS[:1], "SECRETS": [SECRET], "ENDS": ["unresponsive"]}
    settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": webhook}
    close(**FAILED)
    close(**LOST)
    assert not RunAlert.objects.exists()
    close(**STUCK)
    assert RunAlert.objects.count() == 1


def test_where_nobody_listens_nothing_is_written(settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": {}}
    close(**FAILED)
    assert not RunAlert.objects.exists()

    def receiver(**kwargs: Any) -> None:
        pass

    run_ended_badly.connect(receiver)
    try:
        close(**FAILED)
    finally:
        run_ended_badly.disconnect(receiver)
    assert RunAlert.objects.get().target == SIGNAL


def test_the_outbox_is_bounded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": settings.GATEWAY["WEBHOOK"] | {"CAPACITY": 3}}
    monkeypatch.setattr(outbox, "_COUNT_EVERY_SECONDS", 0)
    dropped = outbox.WEBHOOKS._values["dropped",]
    for _ in range(4):
        close(**FAILED)
    assert RunAlert.objects.count() == 4, "full is full, give or take a batch"
    assert outbox.WEBHOOKS._values["dropped",] == dropped + 2


def test_a_purged_run_is_told_of_no_more() -> None:
    kept, purged = close(**FAILED), close(**FAILED)
    Writer().commit(PurgeRuns([purged.id]))
    assert set(RunAlert.objects.values_list("run", flat=True)) == {kept.id}
