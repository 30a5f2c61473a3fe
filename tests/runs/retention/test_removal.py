"""What is purged and erased is gone with all that belongs to it; what is held or open stays; the seals stay clean.

`tests/test_postgresql.py` runs this file on PostgreSQL as well.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from gateway_project import clock
from gateway_project.runs.journal import InsertRun
from gateway_project.runs.models import Run, RunNote
from gateway_project.runs.retention import belongings as registry
from gateway_project.runs.retention.belongings import Belongings, Place, register_belongings
from gateway_project.runs.retention.holds import UnknownRun, is_held, lift_hold, set_hold
from gateway_project.runs.retention.models import LegalHold
from gateway_project.runs.retention.pages import ContentPage, ErasePage, EraseRuns, ForgetPrincipal, Page, PurgePage
from gateway_project.runs.seals.removal import PurgeRuns
from gateway_project.runs.seals.triggers import maintenance
from responses.belongings import StoredResponses
from responses.models import StoredFrames, StoredResponse
from tests.runs.records import make_record
from tests.runs.seals.conftest import PERSON, Sealed, Writer, verify

pytestmark = pytest.mark.django_db


def store_response(run: uuid.UUID, *, days_ago: float = 0) -> None:
    """A stored response with a stream."""
    response = StoredResponse.objects.create(
        id=run,
        principal_kind="api_key",
        principal_id="7",
        status="completed",
        created_at=clock.now() - timedelta(days=days_ago),
        expires_at=clock.now() + timedelta(days=1),
        input="[]",
        body="{}",
    )
    StoredFrames.objects.create(response=response, first_number=0, frames="event: x\n\n")


def stored() -> set[uuid.UUID]:
    """The runs of the responses that are there, stream and all."""
    responses = set(StoredResponse.objects.values_list("pk", flat=True))
    assert responses == set(StoredFrames.objects.values_list("response_id", flat=True))
    return responses


def identities() -> set[str]:
    """What is left of who asked, over all runs and notes."""
    fields = ("principal_kind", "principal_id", "principal_label", "client_address", "user_agent", "client_request_id")
    runs = set(Run.objects.values_list(*fields, "abort_requested_by", "abort_reason"))
    return {value for row in runs for value in row if value} | {
        value for row in RunNote.objects.values_list("by", "text") for value in row if value
    }


@pytest.fixture
def noted() -> Iterator[list[tuple[str, int]]]:
    """What another app's data was told, in order."""
    told: list[tuple[str, int]] = []

    class Labels(Belongings):
        name = "labels"

        def purge(self, run_ids: Any, connection: Any) -> None:
            told.append(("purge", len(run_ids)))

        def erase(self, run_ids: Any, connection: Any) -> None:
            assert not Run.objects.filter(pk__in=run_ids, principal_label="").exists(), "the rows still have it"
            told.append(("erase", len(run_ids)))

        def forget(self, kind: str, id_: str, labels: Any, connection: Any) -> None:
            told.append((f"forget {kind} {id_} {labels}", 0))

    register_belongings(Labels())
    yield told
    del registry._registered["labels"]


def test_a_purge_takes_what_belongs_to_the_runs(sealed: Sealed, noted: list[tuple[str, int]]) -> None:
    for run in sealed.runs:
        store_response(run)
    assert sealed.first.commit(PurgeRuns(sealed.runs[:2])) == [2]
    assert stored() == set(sealed.runs[2:])
    assert noted == [("purge", 2)]
    assert verify() == {}


def test_pages_go_from_the_oldest_on_and_end(sealed: Sealed) -> None:
    arrival = dict(Run.objects.values_list("pk", "received_at"))
    oldest = sorted(arrival, key=lambda run: (arrival[run], run))
    before = clock.now()
    first = sealed.first.commit(PurgePage(before, None, 4))[0]
    assert first == Page(4, Place(arrival[oldest[3]], oldest[3]))
    assert set(Run.objects.values_list("pk", flat=True)) == set(oldest[4:])
    assert sealed.first.commit(PurgePage(before, first.last, 4)) == [Page(2, None)]
    assert not Run.objects.exists()
    assert not RunNote.objects.exists()
    assert verify() == {}


def test_what_arrived_later_or_is_open_stays(sealed: Sealed) -> None:
    running = make_record(received_at=clock.now() - timedelta(days=2))
    sealed.first.commit(InsertRun(running))
    half_an_hour_ago = clock.now() - timedelta(minutes=30)
    assert sealed.first.commit(PurgePage(half_an_hour_ago, None, 100)) == [Page(3, None)]
    assert set(Run.objects.values_list("pk", flat=True)) == {*sealed.runs[:3], running.id}
    assert verify() == {}


Remove = Callable[[Sealed], object]
_REMOVALS: dict[str, Remove] = {
    "purge": lambda sealed: sealed.first.commit(PurgeRuns(sealed.runs)),
    "purge by age": lambda sealed: sealed.first.commit(PurgePage(clock.now(), None, 100)),
    "erase": lambda sealed: sealed.first.commit(EraseRuns(sealed.runs)),
    "erase by principal": lambda sealed: sealed.first.commit(ErasePage("api_key", "7", None, 100)),
    "content": lambda sealed: sealed.first.commit(ContentPage(StoredResponses(), clock.now(), None, 100)),
}


def state_of(run: uuid.UUID) -> Any:
    """All there is of a run."""
    notes = list(RunNote.objects.filter(run=run).values())
    return Run.objects.filter(pk=run).values().first(), notes, StoredResponse.objects.filter(pk=run).values().first()


@pytest.mark.parametrize("removal", _REMOVALS)
def test_a_held_run_stays_as_it_is_until_the_hold_is_lifted(sealed: Sealed, removal: str) -> None:
    for run in sealed.runs:
        store_response(run, days_ago=1)
    held, other = sealed.runs[1], sealed.runs[2]
    hold = set_hold(run=held, by="nora", reason="case 12")
    before, without = state_of(held), state_of(other)
    assert is_held(held)
    assert not is_held(other)
    _REMOVALS[removal](sealed)
    assert state_of(held) == before
    assert state_of(other) != without
    assert verify() == {}
    assert lift_hold(hold.pk, by="nora", reason="closed")
    assert not lift_hold(hold.pk, by="otto", reason="again")
    _REMOVALS[removal](sealed)
    assert state_of(held) != before
    hold.refresh_from_db()
    assert (hold.lifted_by, hold.run, hold.is_in_force) == ("nora", held, False)
    kept = ("case 12", "closed") if removal == "content" else ("", "")
    assert (hold.reason, hold.lift_reason) == kept, "they may name somebody"


@pytest.mark.parametrize("removal", _REMOVALS)
def test_a_hold_on_a_principal_is_one_on_all_its_runs(sealed: Sealed, removal: str) -> None:
    other = Writer().run(principal_id="8")
    for run in (*sealed.runs, other):
        store_response(run, days_ago=1)
    set_hold(kind="api_key", principal_id="7", by="nora", reason="case 12")
    sealed.runs.append(other)
    before, without = [state_of(run) for run in sealed.runs[:6]], state_of(other)
    _REMOVALS[removal](sealed)
    assert [state_of(run) for run in sealed.runs[:6]] == before
    assert state_of(other) != without or removal == "erase by principal"


def test_a_run_with_two_holds_is_held_until_both_are_lifted(sealed: Sealed) -> None:
    first, second = (set_hold(run=sealed.runs[0], by="nora", reason="x") for _ in range(2))
    lift_hold(first.pk, by="nora", reason="x")
    assert sealed.first.commit(PurgeRuns(sealed.runs[:1])) == [0]
    lift_hold(second.pk, by="nora", reason="x")
    assert sealed.first.commit(PurgeRuns(sealed.runs[:1])) == [1]


def test_of_a_run_that_is_purged_only_its_own_holds_lose_their_reasons(sealed: Sealed) -> None:
    holds = [set_hold(run=run, by="nora", reason="nina said") for run in sealed.runs[:3]]
    for hold in holds[:2]:
        lift_hold(hold.pk, by="nora", reason="nina asked")
    assert sealed.first.commit(PurgeRuns([sealed.runs[0], sealed.runs[2]])) == [1]
    reasons = LegalHold.objects.order_by("pk").values_list("reason", "lift_reason")
    assert list(reasons) == [("", ""), ("nina said", "nina asked"), ("nina said", "")]


def test_what_is_not_there_cannot_be_held(db: None) -> None:
    with pytest.raises(UnknownRun):
        set_hold(run=make_record().id, by="nora", reason="x")
    assert not LegalHold.objects.exists()


def test_a_hold_is_on_a_run_or_on_a_principal(db: None) -> None:
    with pytest.raises(IntegrityError):
        LegalHold.objects.create(reason="x", set_by="nora")


def test_an_erased_principal_leaves_skeletons(sealed: Sealed, noted: list[tuple[str, int]]) -> None:
    other = Writer().run(**PERSON | {"principal_id": "8", "principal_label": "otto"})
    running = make_record(**PERSON)
    sealed.first.commit(InsertRun(running))
    for run in (*sealed.runs, other):
        store_response(run)
    kept = dict(Run.objects.values_list("pk", "output_tokens"))
    assert sealed.second.commit(ErasePage("api_key", "7", None, 4))[0].rows == 4
    assert sealed.second.commit(ErasePage("api_key", "7", None, 4)) == [Page(2, None)]
    assert sealed.second.commit(ErasePage("api_key", "7", None, 4)) == [Page(0, None)]
    assert dict(Run.objects.values_list("pk", "output_tokens")) == kept
    assert stored() == {other}
    assert set(Run.objects.filter(principal_id="7").values_list("pk", flat=True)) == {running.id}
    assert noted == [("erase", 4), ("erase", 2)]
    skeleton = Run.objects.get(pk=sealed.runs[0])
    assert (skeleton.parameters, skeleton.abort_requested_by, skeleton.abort_cause) == ({}, "", "client_cancelled")
    assert not RunNote.objects.filter(run__in=sealed.runs).exclude(text="").exists()
    assert verify() == {}
    sealed.second.commit(ForgetPrincipal("api_key", "7", ["nina"]))
    assert noted[-1] == ("forget api_key 7 ['nina']", 0)


def test_what_no_seal_knows_is_erased_too(sealed: Sealed) -> None:
    """It was recorded before there were seals, or its seal was removed by somebody."""
    old = make_record(**PERSON, finished_at=clock.now())
    Run.objects.create(**{name: getattr(old, name) for name in old.__slots__} | {"status": "completed"})
    with maintenance(connection):
        Run.objects.filter(pk=sealed.runs[0]).update(seal=None)
    unsealed = verify()
    assert unsealed["row that no seal knows"] == 2
    sealed.first.commit(ErasePage("api_key", "7", None, 100))
    assert identities() == set()
    assert verify() == unsealed


def test_a_lifted_hold_does_not_name_who_was_erased(db: None) -> None:
    lifted = set_hold(kind="api_key", principal_id="7", by="nora", reason="nina said")
    lift_hold(lifted.pk, by="otto", reason="nina asked")
    other = set_hold(kind="api_key", principal_id="8", by="nora", reason="x")
    Writer().commit(ForgetPrincipal("api_key", "7", []))
    lifted.refresh_from_db()
    assert (lifted.principal_kind, lifted.principal_id, lifted.reason, lifted.lift_reason) == ("erased", "", "", "")
    assert (lifted.set_by, lifted.lifted_by) == ("nora", "otto")
    other.refresh_from_db()
    assert other.principal_id == "8"


def test_content_goes_sooner_and_the_run_stays(sealed: Sealed) -> None:
    for days, run in enumerate(sealed.runs):
        store_response(run, days_ago=days)
    running = make_record()
    sealed.first.commit(InsertRun(running))
    store_response(running.id, days_ago=9)
    before = clock.now() - timedelta(days=2, hours=12)
    first = sealed.first.commit(ContentPage(StoredResponses(), before, None, 2))[0]
    assert first.rows == 1, "that of the open run stays"
    assert first.last is not None
    assert sealed.first.commit(ContentPage(StoredResponses(), before, first.last, 2))[0].rows == 2
    assert stored() == {*sealed.runs[:3], running.id}
    assert Run.objects.count() == 7
    assert {"nina", "192.0.2.7"} <= identities()


def test_a_response_whose_run_is_gone_is_forgotten_with_its_principal(db: None) -> None:
    store_response(make_record().id)
    Writer().commit(ForgetPrincipal("api_key", "8", []))
    assert stored()
    Writer().commit(ForgetPrincipal("api_key", "7", []))
    assert not stored()
