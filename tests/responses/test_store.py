"""How responses are kept, also while the database is away, and what is loaded of them."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_project import clock, ids
from gateway_project.access.principal import Principal
from gateway_project.runs.journal.lines import SpillableChange
from gateway_project.runs.journal.spill import Spill
from responses import stored
from responses.models import StoredFrames, StoredResponse
from responses.store import AppendFrames, EndRecord, EndResponse, FramesRecord, ResponseRecord, StoreResponse

SOMEBODY = Principal("api_key", "1", "nina")


def a_response(status: str = "completed") -> ResponseRecord:
    return ResponseRecord(
        id=ids.new_run_id(),
        principal_kind=SOMEBODY.kind,
        principal_id=SOMEBODY.id,
        previous=ids.new_run_id(),
        status=status,
        background=False,
        created_at=clock.now(),
        request="",
        input='["\\u0000 ü"]',
        body="{}",
    )


def test_responses_and_their_streams_come_out_of_the_spill_file_as_they_went_in(tmp_path: Path) -> None:
    record = a_response()
    end = EndRecord(id=ids.new_run_id(), status="failed", body="{}", first_number=3, frames="event: x\n\n")
    frames = FramesRecord(id=end.id, status="in_progress", first_number=0, frames="event: y\n\n")
    changes: list[SpillableChange] = [
        StoreResponse(record),
        StoreResponse(replace(record, previous=None)),
        AppendFrames(frames),
        EndResponse(end),
    ]
    spill = Spill(tmp_path)
    spill.append(changes)
    assert spill.waiting(10)[0] == changes
    spill.close()


def append(id_: uuid.UUID, number: int, *, status: str = "in_progress") -> bool:
    frames = FramesRecord(id=id_, status=status, first_number=number, frames=f"event: {number}\n\n")
    return AppendFrames(frames).apply(connection)


@pytest.mark.django_db
def test_events_are_kept_without_going_through_the_response_again() -> None:
    record = a_response("queued")
    StoreResponse(record).apply(connection)
    said = []
    for number in range(2):
        with CaptureQueriesContext(connection) as asked:
            assert append(record.id, number)
        said.append([query["sql"].split()[0] for query in asked if "SAVEPOINT" not in query["sql"]])
    assert said == [["UPDATE", "INSERT"], []]  # The one statement of the second goes past Django's cursor.
    assert StoredResponse.objects.get().status == "in_progress"
    assert list(StoredFrames.objects.values_list("first_number", flat=True)) == [0, 1]


@pytest.mark.django_db
@pytest.mark.parametrize("status", [None, "completed"])
def test_of_a_response_that_is_gone_or_over_no_more_events_are_kept(status: str | None) -> None:
    record = a_response(status or "in_progress")
    if status is not None:
        StoreResponse(record).apply(connection)
    assert not append(record.id, 0)
    assert not StoredFrames.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("consumer", "loaded"), [(stored.StoredResponseConsumer, "body"), (stored.InputItemsConsumer, "input")]
)
def test_of_what_may_be_large_only_what_is_asked_for_is_loaded(
    consumer: type[stored.StoredConsumer], loaded: str
) -> None:
    record = a_response()
    StoreResponse(record).apply(connection)
    found = stored._find(record.id, SOMEBODY, consumer.left_out)
    assert found is not None
    assert {"request", "input", "body"} - found.get_deferred_fields() == {loaded}
