"""The suite's case that asks no server, and how it reads a stream."""

import json

import pytest

from gateway_project import ids
from gateway_project.agents.events import Finish, MessagePhase, TextDelta, Usage
from gateway_project.execution.outlet import Completed
from responses.encoder import ResponseBodyEncoder
from responses.resource import ResponseResource
from responses.schema import ResponseRequest
from tests.e2e.compliance.suite import MODEL, completed, events_of


@pytest.mark.compliance("Open Responses", "compliance suite", "phase")
def test_response_output_phase_schema() -> None:
    """The suite has a made-up response here; this one is what our encoder makes of an agent that tells phases."""
    request = ResponseRequest.model_validate({"model": MODEL, "input": "How many?"})
    encoder = ResponseBodyEncoder(ResponseResource(request, ids.new_run_id(), 1_764_967_971))
    for event in (MessagePhase("commentary"), TextDelta("I count."), MessagePhase("final_answer"), TextDelta("Four.")):
        encoder.event(event)
    encoder.event(Finish())
    response = completed(json.loads(encoder.body(Completed({0: "stop"}, Usage(1, 2)))))
    assert [item["phase"] for item in response["output"]] == ["commentary", "final_answer"]


def test_an_event_that_is_split_between_its_lines_is_lost_to_the_suite() -> None:
    whole = b'event: x\ndata: {"n": 1}\n\n'
    assert list(events_of([whole, b": comment\n\n", whole])) == [{"n": 1}, {"n": 1}]
    assert list(events_of([whole[:15], whole[15:]])) == [{"n": 1}]
    assert list(events_of([whole[:-1], whole[-1:]])) == []
