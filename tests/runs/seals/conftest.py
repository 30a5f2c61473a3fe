"""A database with two chains of sealed runs and notes, and ways to tamper with it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from gateway_project import clock
from gateway_project.runs.journal import Change, CloseRun, InsertRun, Note
from gateway_project.runs.models import Seal
from gateway_project.runs.record import NoteRecord, RunRecord
from gateway_project.runs.seals.chain import ChainWriter, Head
from gateway_project.runs.seals.verify import Verifier
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, AbortPhase, NoteKind, RunStatus
from tests.runs.records import make_record

PERSON = {
    "principal_kind": "api_key",
    "principal_id": "7",
    "principal_label": "nina",
    "client_address": "192.0.2.7",
    "user_agent": "curl/8",
    "client_request_id": "order-1",
    "parameters": {"user": "nina@example.org", "temperature": 0.5},
}


def ended(record: RunRecord, **fields: Any) -> RunRecord:
    """The end of a run that was aborted."""
    now = clock.now()
    aborted: dict[str, Any] = {
        "status": RunStatus.ABORTED,
        "abort_cause": AbortCause.CLIENT_CANCELLED,
        "abort_phase": AbortPhase.STREAMING,
        "abort_outcome": AbortOutcome.STOPPED,
        "abort_requested_at": now,
        "abort_requested_by": "nina",
        "abort_reason": "too long",
        "settled_at": now,
        "finished_at": now,
        "delivered": False,
        "output_tokens": 3,
        "usage_source": "estimated",
    }
    return replace(record, **aborted | fields)


def note(record: RunRecord, text: str = "search") -> NoteRecord:
    """A note of a run."""
    return NoteRecord(run_id=record.id, at=clock.now(), kind=NoteKind.TOOL, by="", text=text)


@dataclass
class Writer:
    """What a journal does, in the test's own thread and transaction."""

    chain: ChainWriter = field(default_factory=ChainWriter)

    def commit(self, *changes: Change) -> list[Any]:
        with self.chain.transaction(connection):
            return [change.apply(connection) for change in changes]

    def run(self, **fields: Any) -> uuid.UUID:
        """A run that begins, and ends in a transaction of its own, with a note."""
        record = make_record(**PERSON | fields)
        self.commit(InsertRun(record))
        self.commit(Note(note(record)), CloseRun(ended(record)))
        return record.id


@dataclass
class Sealed:
    """Two writers that took turns; `runs` in the order of their seals, three a chain."""

    first: Writer
    second: Writer
    runs: list[uuid.UUID]


@pytest.fixture
def sealed(db: None) -> Sealed:
    """Six runs, each in a seal of its own, in two chains; the second chain names the first one's head."""
    first, second = sorted((Writer(), Writer()), key=lambda writer: writer.chain._chain)
    runs = [first.run() for _ in range(3)]
    runs += [second.run(received_at=clock.now() - timedelta(hours=1)) for _ in range(3)]
    return Sealed(first, second, runs)


Execute = Callable[..., None]


@pytest.fixture
def attack(db: None) -> Execute:
    """Run SQL as somebody who owns the database and has switched the triggers off."""
    with connection.cursor() as cursor:
        for table in ("gateway_run", "gateway_run_note", "gateway_run_content", "gateway_seal"):
            if connection.vendor == "postgresql":
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            else:
                cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
                for (name,) in cursor.fetchall():
                    cursor.execute(f"DROP TRIGGER {name}")

    def execute(sql: str, *parameters: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, [as_stored(parameter) for parameter in parameters])
            assert cursor.rowcount, "it changed nothing"

    return execute


def as_stored(value: Any) -> Any:
    """An id as the database spells it."""
    return value.hex if isinstance(value, uuid.UUID) and connection.vendor == "sqlite" else value


def verify(*anchors: Head) -> dict[str, int]:
    """How many breaks of each kind there are."""
    return dict(verified(*anchors).findings.counts)


def first_break(*anchors: Head) -> str:
    """The first one, in words."""
    return verified(*anchors).findings.first


def verified(*anchors: Head) -> Verifier:
    """A verifier that has walked to the end."""
    verifier = Verifier(connection, anchors=anchors)
    for _ in verifier.walk():
        pass
    return verifier


def seal_of(run: uuid.UUID) -> Seal:
    """The seal that holds a run's digest."""
    [seal] = [seal for seal in Seal.objects.all() if run.bytes in bytes(seal.entries)]
    return seal
