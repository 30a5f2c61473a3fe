"""Whatever is done behind the application's back with SQL is found and named rightly, on either database.

`test_postgresql.py` runs this file on PostgreSQL as well.
"""

import uuid

import pytest
from django.db import IntegrityError, connection

from gateway_project import clock
from gateway_project.runs.journal import CloseRun, InsertRun, Note
from gateway_project.runs.models import Chain, Run, RunNote, Seal, Tombstone
from gateway_project.runs.seals import anchor
from gateway_project.runs.seals.batch import EntryKind, current_batch
from gateway_project.runs.seals.canonical import NOTE, RUN
from gateway_project.runs.seals.chain import unnamed_heads
from gateway_project.runs.seals.removal import EraseFields, PurgeRuns
from gateway_project.runs.vocabulary import RunStatus
from tests.runs.records import make_record
from tests.runs.seals.conftest import Execute, Sealed, Writer, ended, first_break, note, seal_of, verified, verify

pytestmark = pytest.mark.django_db

_CHANGES = {
    "status": "'completed'",
    "endpoint": "'responses'",
    "agent": "'other'",
    "model": "'other'",
    "requested_model": "'other'",
    "streaming": "NOT streaming",
    "background": "NOT background",
    "parent_run": "id",
    "worker": "'other'",
    "principal_kind": "'user'",
    "principal_id": "'8'",
    "principal_label": "'otto'",
    "client_address": "'192.0.2.8'",
    "user_agent": "'wget'",
    "client_request_id": "'order-2'",
    "received_at": "started_at",
    "started_at": "received_at",
    "first_output_at": "received_at",
    "abort_requested_at": "NULL",
    "settled_at": "NULL",
    "finished_at": "received_at",
    "abort_cause": "'timeout'",
    "abort_phase": "'queued'",
    "abort_outcome": "'unresponsive'",
    "abort_requested_by": "''",
    "abort_reason": "'other'",
    "delivered": "NULL",
    "http_status": "200",
    "finish_reason": "'stop'",
    "events_sent": "events_sent + 1",
    "bytes_sent": "bytes_sent + 1",
    "tokens_sent": "tokens_sent + 1",
    "input_tokens": "0",
    "output_tokens": "output_tokens + 1",
    "cached_tokens": "0",
    "reasoning_tokens": "0",
    "usage_source": "'reported'",
    "error_type": "'other'",
    "error_code": "'other'",
    "error_message": "'other'",
    "parameters": """'{"user": "otto@example.org", "temperature": 0.5}'""",
    "seal": "id",
    "salts": "NULL",
}
_NOTE_CHANGES = {"run_id": "id", "at": "NULL", "kind": "'late_end'", "by": "'otto'", "text": "'other'", "seal": "id"}


_ANOTHER_STONE = (
    "INSERT INTO gateway_tombstone (object_id, kind, seal) SELECT DISTINCT %s, kind, seal FROM gateway_tombstone"
)


def test_what_nobody_has_touched_is_clean(sealed: Sealed) -> None:
    verifier = verified()
    assert verifier.findings.counts == {}
    assert (verifier.position.seals, verifier.position.rows) == (6, 12)


def test_each_sealed_column_is_tried_below() -> None:
    assert {*_CHANGES, "id", "commitments"} == {field.column for field in Run._meta.concrete_fields} == set(RUN.columns)
    assert set(NOTE.columns) == {field.column for field in RunNote._meta.concrete_fields}


@pytest.mark.parametrize("column", _CHANGES)
def test_a_changed_field_of_a_run(sealed: Sealed, attack: Execute, column: str) -> None:
    run = sealed.runs[1]
    cast = "::jsonb" if column == "parameters" and connection.vendor == "postgresql" else ""
    attack(f"UPDATE gateway_run SET {column} = {_CHANGES[column]}{cast} WHERE id = %s", run)
    assert verify()["changed row"] == 1
    assert first_break() == f"changed row: run {run} is not what was sealed"


def test_a_changed_microsecond(sealed: Sealed, attack: Execute) -> None:
    run = Run.objects.get(pk=sealed.runs[4])
    assert run.finished_at is not None
    later = run.finished_at.replace(microsecond=(run.finished_at.microsecond + 1) % 1_000_000)
    attack("UPDATE gateway_run SET finished_at = %s WHERE id = %s", str(later.replace(tzinfo=None)), run.pk)
    assert first_break() == f"changed row: run {run.pk} is not what was sealed"


@pytest.mark.parametrize("value", ["'not a time'", "12", "x'00ff'"])
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="other databases have types")
def test_what_no_application_can_have_written(sealed: Sealed, attack: Execute, value: str) -> None:
    attack(f"UPDATE gateway_run SET finished_at = {value} WHERE id = %s", sealed.runs[0])
    assert verify() == {"changed row": 1}
    attack("UPDATE gateway_run SET seal = 'nonsense' WHERE id = %s", sealed.runs[0])
    assert first_break() == f"changed row: run {sealed.runs[0]} is not what was sealed"


@pytest.mark.parametrize("value", ["'nonsense'", "x'00ff'", "1.5"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        (model._meta.db_table, field.column)
        for model in (Chain, Seal, Run, RunNote)
        for field in model._meta.concrete_fields
    ],
)
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="other databases have types")
def test_nonsense_anywhere_is_found_and_stops_nobody(
    sealed: Sealed, attack: Execute, table: str, column: str, value: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(id) FROM {table}")
        (last,) = cursor.fetchone()
    try:
        attack(f'UPDATE {table} SET "{column}" = {value} WHERE id = %s', last)
    except IntegrityError:
        pytest.skip("the column's own constraint refuses it")
    found = verify()  # In a run's row it may be read as what stood there.
    assert found or table in ("gateway_run", "gateway_run_note") or column in ("writer", "head_at")
    for writer in (Writer(), sealed.second):  # The first one names the ends of the others' chains.
        assert Run.objects.get(pk=writer.run()).seal is not None


@pytest.mark.parametrize("column", _NOTE_CHANGES)
def test_a_changed_field_of_a_note(sealed: Sealed, attack: Execute, column: str) -> None:
    found = RunNote.objects.filter(run=sealed.runs[2]).get()
    value = f"'{found.at.replace(year=2000, tzinfo=None)}'" if column == "at" else _NOTE_CHANGES[column]
    attack(f'UPDATE gateway_run_note SET "{column}" = {value} WHERE id = %s', found.pk)
    assert first_break() == f"changed row: note {found.pk} is not what was sealed"


@pytest.mark.parametrize("number", [0, 2, 3, 5])
def test_a_deleted_run(sealed: Sealed, attack: Execute, number: int) -> None:
    run = sealed.runs[number]
    seal = seal_of(run)
    attack("DELETE FROM gateway_run WHERE id = %s", run)
    assert verify() == {"deleted row": 1, "note without its run": 1}
    assert first_break() == f"deleted row: run {run}, of seal {seal.number} of chain {seal.chain}"


def test_a_deleted_note(sealed: Sealed, attack: Execute) -> None:
    found = RunNote.objects.filter(run=sealed.runs[2]).get()
    attack("DELETE FROM gateway_run_note WHERE id = %s", found.pk)
    assert verify() == {"deleted row": 1}
    assert first_break().startswith(f"deleted row: note {found.pk}, ")


def test_a_run_that_was_slipped_in(sealed: Sealed, attack: Execute) -> None:
    record = make_record()
    InsertRun(record).apply(connection)
    assert verify() == {}, "an open run is not sealed yet"
    attack("UPDATE gateway_run SET status = 'completed' WHERE id = %s", record.id)
    assert first_break() == f"row that no seal knows: run {record.id}"
    attack("UPDATE gateway_run SET seal = %s WHERE id = %s", seal_of(sealed.runs[0]).pk, record.id)
    assert verify() == {"row that no seal knows": 1}, "the seal that it names does not hold it"


def test_runs_that_name_each_others_seal(sealed: Sealed, attack: Execute) -> None:
    for one, other in ((0, 1), (1, 0)):
        attack("UPDATE gateway_run SET seal = %s WHERE id = %s", seal_of(sealed.runs[one]).pk, sealed.runs[other])
    assert verify() == {"changed row": 2, "row that no seal knows": 2}


def test_a_note_that_was_slipped_in(sealed: Sealed) -> None:
    found = RunNote.objects.create(run_id=sealed.runs[0], at=Run.objects.get(pk=sealed.runs[0]).received_at)
    assert verify() == {"row that no seal knows": 1}
    assert first_break() == f"row that no seal knows: note {found.pk}"


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 4), (5, 0)])
def test_a_swapped_pair(sealed: Sealed, attack: Execute, one: int, other: int) -> None:
    pair = sealed.runs[one], sealed.runs[other]
    for old, new in ((pair[0], uuid.UUID(int=0)), (pair[1], pair[0]), (uuid.UUID(int=0), pair[1])):
        attack("UPDATE gateway_run SET id = %s WHERE id = %s", new, old)
    assert verify()["swapped rows"] == 1
    assert "changed row" not in verify()
    assert first_break().startswith("swapped rows: run ")
    assert str(pair[0]) in first_break()
    assert str(pair[1]) in first_break()


def test_a_closed_run_that_was_opened_again(sealed: Sealed, attack: Execute) -> None:
    attack("UPDATE gateway_run SET status = 'running', finished_at = NULL WHERE id = %s", sealed.runs[3])
    assert first_break() == f"changed row: run {sealed.runs[3]} is not what was sealed"


@pytest.mark.parametrize("number", [0, 1])
def test_a_removed_seal(sealed: Sealed, attack: Execute, number: int) -> None:
    seal = seal_of(sealed.runs[number])
    attack("DELETE FROM gateway_seal WHERE id = %s", seal.pk)
    assert verify() == {"removed seal": 1, "row that no seal knows": 2}
    missing = f"{number + 1} to {number + 1}"
    assert first_break() == f"removed seal: of chain {seal.chain} the seals {missing} are missing"


def test_a_removed_seal_whose_gap_was_closed(sealed: Sealed, attack: Execute) -> None:
    seal, last = seal_of(sealed.runs[1]), seal_of(sealed.runs[2])
    attack("DELETE FROM gateway_seal WHERE id = %s", seal.pk)
    attack("UPDATE gateway_seal SET number = 2 WHERE id = %s", last.pk)
    attack("UPDATE gateway_chain SET head_number = 2 WHERE id = %s", seal.chain)
    assert first_break() == f"broken link: seal 2 of chain {seal.chain} does not follow the one before it"
    assert {"broken link", "changed seal", "row that no seal knows"} <= set(verify())


@pytest.mark.parametrize(
    "change",
    ["sealed_at = '2001-01-01 00:00:00'", "version = 2", "heads = entries", "entries = heads", "hash = previous"],
)
def test_a_changed_seal(sealed: Sealed, attack: Execute, change: str) -> None:
    seal = seal_of(sealed.runs[1])
    attack(f"UPDATE gateway_seal SET {change} WHERE id = %s", seal.pk)
    assert verify()["changed seal"] == 1
    assert f"seal 2 of chain {seal.chain}" in first_break()


@pytest.mark.parametrize("column", ["sealed_at", "entries", "heads", "previous", "version"])
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="other databases have types")
def test_a_seal_of_nonsense(sealed: Sealed, attack: Execute, column: str) -> None:
    attack(f"UPDATE gateway_seal SET {column} = 'nonsense' WHERE id = %s", seal_of(sealed.runs[1]).pk)
    assert verify()["changed seal"] == 1


def test_a_changed_run_whose_seal_was_made_to_fit(sealed: Sealed, attack: Execute) -> None:
    """The digest is no secret: the hash of the seal is what does not fit then."""
    run = sealed.runs[1]
    seal = seal_of(run)
    attack("UPDATE gateway_run SET output_tokens = 4 WHERE id = %s", run)
    columns = ", ".join(f'"{column}"' for column in RUN.columns)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM gateway_run WHERE output_tokens = 4")
        row = dict(zip(RUN.columns, cursor.fetchone(), strict=True))
    entries = bytes(seal.entries)
    place = entries.index(run.bytes) + 16
    attack(
        "UPDATE gateway_seal SET entries = %s WHERE id = %s",
        entries[:place] + RUN.digest(row) + entries[place + 32 :],
        seal.pk,
    )
    assert verify() == {"changed seal": 1}


def test_a_truncated_tail_is_seen_by_the_row_of_the_chain(sealed: Sealed, attack: Execute) -> None:
    seal = seal_of(sealed.runs[5])
    attack("DELETE FROM gateway_seal WHERE id = %s", seal.pk)
    assert first_break() == f"truncated tail: chain {seal.chain} had 3 seals and ends with 2"


def cut_tail(sealed: Sealed, attack: Execute, number: int) -> uuid.UUID:
    """Remove a run, its note, its seal, and set the chain's row back: as if it had never been."""
    run = sealed.runs[number]
    seal = seal_of(run)
    attack("DELETE FROM gateway_run WHERE id = %s", run)
    attack("DELETE FROM gateway_run_note WHERE run_id = %s", run)
    attack("DELETE FROM gateway_seal WHERE id = %s", seal.pk)
    attack(
        "UPDATE gateway_chain SET head_number = head_number - 1, head_hash = %s WHERE id = %s",
        bytes(seal.previous),
        seal.chain,
    )
    return seal.chain


def test_a_truncated_tail_without_a_trace_is_found_by_an_anchor(sealed: Sealed, attack: Execute) -> None:
    anchors = anchor.read("\n".join(anchor.write(unnamed_heads(connection), at=clock.now())))
    assert verify(*anchors) == {}
    chain = cut_tail(sealed, attack, 5)
    assert verify() == {}, "nothing in the database tells of it: this is what anchors are for"
    assert verify(*anchors) == {"truncated tail": 1}
    assert first_break(*anchors) == f"truncated tail: chain {chain} ends before seal 3, which an anchor names"


def test_a_truncated_tail_is_found_by_the_chain_that_names_it(sealed: Sealed, attack: Execute) -> None:
    chain = cut_tail(sealed, attack, 2)
    assert verify() == {"truncated tail": 1}
    assert first_break().startswith(f"truncated tail: chain {chain} ends before seal 3, which seal 1 of chain ")


def remove_chain(chain: uuid.UUID, runs: list[uuid.UUID], attack: Execute) -> None:
    """Remove a chain with all its runs."""
    for run in runs:
        attack("DELETE FROM gateway_run WHERE id = %s", run)
        attack("DELETE FROM gateway_run_note WHERE run_id = %s", run)
    attack("DELETE FROM gateway_seal WHERE chain = %s", chain)
    attack("DELETE FROM gateway_chain WHERE id = %s", chain)


def test_a_chain_that_vanished_with_all_its_runs(sealed: Sealed, attack: Execute) -> None:
    chain = seal_of(sealed.runs[0]).chain
    remove_chain(chain, sealed.runs[:3], attack)
    assert verify() == {"removed chain": 1}
    assert first_break().startswith(f"removed chain: chain {chain}, which seal 1 of chain ")


def test_a_chain_that_was_written_anew(sealed: Sealed, attack: Execute) -> None:
    """All hashes fit again, but another chain and the anchors know the old ones."""
    anchors = unnamed_heads(connection)
    chain = seal_of(sealed.runs[3]).chain
    remove_chain(chain, sealed.runs[3:], attack)
    attack("UPDATE gateway_chain SET named_number = 0")  # and so named anew
    forger = Writer()
    forger.chain._chain = chain
    for _ in range(3):
        forger.run()
    assert verify() == {}
    assert verify(*anchors) == {"rewritten chain": 1}


def test_a_row_of_a_chain_that_was_set_back_or_removed(sealed: Sealed, attack: Execute) -> None:
    chain = seal_of(sealed.runs[0]).chain
    attack("UPDATE gateway_chain SET head_number = 2 WHERE id = %s", chain)
    assert verify() == {"changed row of a chain": 1}
    attack("DELETE FROM gateway_chain WHERE id = %s", chain)
    assert verify() == {"changed row of a chain": 1}


def test_a_chain_that_is_kept_out_of_the_anchors_by_its_row(sealed: Sealed, attack: Execute) -> None:
    chain = seal_of(sealed.runs[5]).chain
    assert [head.chain for head in unnamed_heads(connection)] == [chain]
    attack("UPDATE gateway_chain SET named_number = head_number WHERE id = %s", chain)
    assert unnamed_heads(connection) == []
    assert verify() == {"changed row of a chain": 1}
    assert first_break().endswith("says that another chain names its seal 3, and none does")


def test_a_chain_that_vanished_is_missed_by_the_one_that_it_named(sealed: Sealed, attack: Execute) -> None:
    chain = seal_of(sealed.runs[3]).chain
    remove_chain(chain, sealed.runs[3:], attack)
    assert verify() == {"changed row of a chain": 1}


def test_purged_and_erased_is_clean_and_nothing_else_is(sealed: Sealed, attack: Execute) -> None:
    purged, erased, other = sealed.runs[0], sealed.runs[4], sealed.runs[5]
    assert sealed.second.commit(PurgeRuns([purged])) == [1]
    assert sealed.first.commit(EraseFields(EntryKind.RUN, [erased], ["identity", "asker"])) == [1]
    notes = list(RunNote.objects.filter(run=erased).values_list("pk", flat=True))
    assert sealed.first.commit(EraseFields(EntryKind.NOTE, notes, ["said"])) == [1]
    assert verify() == {}
    run = Run.objects.get(pk=erased)
    assert (run.principal_label, run.client_address, run.parameters, run.abort_requested_by) == ("", "", {}, "")
    assert (run.status, run.output_tokens, run.abort_cause) == ("aborted", 3, "client_cancelled")
    assert bytes(run.salts or b"").strip(b"\x00") == b""
    assert not Run.objects.filter(pk=purged).exists()
    attack("UPDATE gateway_run SET output_tokens = 4 WHERE id = %s", erased)
    attack("DELETE FROM gateway_run WHERE id = %s", other)
    assert verify() == {"changed row": 1, "deleted row": 1, "note without its run": 1}


def test_an_erased_run_to_which_somebody_is_ascribed(sealed: Sealed, attack: Execute) -> None:
    sealed.first.commit(EraseFields(EntryKind.RUN, [sealed.runs[1]], ["identity"]))
    attack("UPDATE gateway_run SET principal_label = 'otto' WHERE id = %s", sealed.runs[1])
    assert first_break() == f"changed row: run {sealed.runs[1]} is not what was sealed"


def test_what_was_erased_behind_the_applications_back(sealed: Sealed, attack: Execute) -> None:
    """As the application would, but without a seal that tells of it; and with a tombstone that points elsewhere."""
    columns = ", ".join(f'"{column}"' for column in RUN.columns)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM gateway_run WHERE worker <> ''")
        rows = [dict(zip(RUN.columns, values, strict=True)) for values in cursor.fetchall()]
    row = next(row for row in rows if uuid.UUID(str(row["id"])) == sealed.runs[1])
    changes = RUN.erase(row, ["identity"]) | {"parameters": "{}"}
    sets = ", ".join(f"{column} = %s" for column in changes)
    attack(f"UPDATE gateway_run SET {sets} WHERE id = %s", *changes.values(), sealed.runs[1])
    assert first_break() == f"erased without a record: run {sealed.runs[1]} (identity)"
    sealed.first.commit(EraseFields(EntryKind.RUN, [sealed.runs[2]], ["identity"]))
    attack(_ANOTHER_STONE, sealed.runs[1])
    assert verify() == {"erased without a record": 1}


def test_a_tombstone_alone_hides_no_deletion(sealed: Sealed, attack: Execute) -> None:
    sealed.second.commit(PurgeRuns([sealed.runs[0]]))
    attack("DELETE FROM gateway_run WHERE id = %s", sealed.runs[1])
    attack(_ANOTHER_STONE, sealed.runs[1])
    assert verify() == {"deleted row": 1, "note without its run": 1}
    assert str(sealed.runs[1]) in first_break()


def test_the_record_of_another_purge_hides_no_deletion(sealed: Sealed, attack: Execute) -> None:
    """Of a run with the same id and other content."""
    run = sealed.runs[1]
    with sealed.second.chain.transaction(connection):
        batch = current_batch()
        assert batch is not None
        batch.add(EntryKind.PURGED, run, bytes(32))
        Tombstone.objects.create(object_id=run, kind=EntryKind.PURGED, seal=batch.id)
    attack("DELETE FROM gateway_run WHERE id = %s", run)
    assert verify() == {"deleted row": 1}


def test_a_rejected_run_and_a_late_note_are_sealed_too(sealed: Sealed, attack: Execute) -> None:
    rejected = make_record(status=RunStatus.REJECTED, started_at=None)
    late = note(make_record(id=sealed.runs[0]), "the agent ended after its grace period")
    sealed.first.commit(InsertRun(rejected), Note(late))
    assert verify() == {}
    attack("UPDATE gateway_run_note SET text = '' WHERE id = %s", late.id)
    attack("DELETE FROM gateway_run WHERE id = %s", rejected.id)
    assert verify() == {"changed row": 1, "deleted row": 1}


def test_the_note_of_a_run_that_was_deleted_while_it_ran(sealed: Sealed, attack: Execute) -> None:
    """Nothing was sealed yet, but its end finds no row, and that is noted, and sealed."""
    record = make_record()
    sealed.first.commit(InsertRun(record))
    attack("DELETE FROM gateway_run WHERE id = %s", record.id)
    sealed.first.commit(CloseRun(ended(record)))
    assert first_break() == f"note without its run: note {RunNote.objects.get(run=record.id).pk} of run {record.id}"
    assert verify() == {"note without its run": 1}
