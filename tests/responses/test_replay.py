"""The output of a response whose process died: as the end would have told it that somebody else has to write now."""

import uuid

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from gateway_project import ids
from gateway_project.agents.events import AgentEvent
from gateway_project.transport import sse
from responses.dialect import Dialect
from responses.encoder import ResponseStreamEncoder
from responses.models import StoredFrames
from responses.replay import kept_events, output_after
from tests.responses.reader import Event, events_of
from tests.responses.scenarios import FAILED, SCENARIOS, answers, resource, stream


@hypothesis_settings(max_examples=150, deadline=None, database=None)
@given(answers())
def test_what_was_said_is_what_a_failure_would_have_told(said: list[AgentEvent]) -> None:
    *events, failed = stream(said, FAILED)
    assert output_after(events) == failed["response"]["output"]


@pytest.mark.parametrize("dialect", Dialect)
def test_reasoning_is_known_by_both_of_its_names(dialect: Dialect) -> None:
    encoder = ResponseStreamEncoder(resource(), dialect)
    frames = [encoder.event(event) for event in SCENARIOS["raw reasoning"][0]]
    *events, failed = events_of(b"".join([encoder.open(), *frames, encoder.close(FAILED)]))
    assert output_after(events) == failed["response"]["output"] != []


EVENTS = stream(*SCENARIOS["text"])


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_events_come_out_of_their_batches_in_order(size: int) -> None:
    id_ = ids.new_run_id()
    for first in reversed(range(0, len(EVENTS), size)):
        keep(id_, first, EVENTS[first : first + size])
    assert list(kept_events(id_, "default")) == EVENTS


@pytest.mark.django_db
def test_behind_a_gap_nothing_is_read() -> None:
    id_ = ids.new_run_id()
    keep(id_, 0, EVENTS[:3])
    keep(id_, 4, EVENTS[4:])
    assert list(kept_events(id_, "default")) == EVENTS[:3]


def keep(id_: uuid.UUID, first: int, events: list[Event]) -> None:
    frames = b"".join(sse.named_event(event["type"], event) for event in events)
    StoredFrames.objects.create(response_id=id_, first_number=first, frames=frames.decode())
