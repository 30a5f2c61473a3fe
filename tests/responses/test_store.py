"""How responses are kept while the database is away."""

from dataclasses import replace
from pathlib import Path

from gateway_project import clock, ids
from gateway_project.runs.journal.lines import SpillableChange
from gateway_project.runs.journal.spill import Spill
from responses.store import AppendFrames, EndRecord, EndResponse, FramesRecord, ResponseRecord, StoreResponse


def test_responses_and_their_streams_come_out_of_the_spill_file_as_they_went_in(tmp_path: Path) -> None:
    record = ResponseRecord(
        id=ids.new_run_id(),
        principal_kind="api_key",
        principal_id="1",
        previous=ids.new_run_id(),
        status="completed",
        background=False,
        created_at=clock.now(),
        request="",
        input='["\\u0000 ü"]',
        body="{}",
    )
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
