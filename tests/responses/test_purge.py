"""``purgeresponses`` deletes what has expired, with its stream, and nothing else."""

import io
import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from gateway_project import clock, ids
from gateway_project.runs.retention.holds import lift_hold, set_hold
from responses.models import StoredFrames, StoredResponse
from tests.runs.seals.conftest import Writer

pytestmark = pytest.mark.django_db


def stored(*, expires_in: timedelta, id_: uuid.UUID | None = None) -> uuid.UUID:
    response = StoredResponse.objects.create(
        id=id_ or ids.new_run_id(),
        principal_kind="api_key",
        principal_id="1",
        status="completed",
        created_at=clock.now(),
        expires_at=clock.now() + expires_in,
        input="[]",
        body="{}",
    )
    StoredFrames.objects.create(response=response, first_number=0, frames="event: x\n\n")
    return response.id


def purge(*arguments: str) -> str:
    out = io.StringIO()
    call_command("purgeresponses", *arguments, stdout=out)
    return out.getvalue()


def test_only_what_has_expired_is_deleted_in_batches() -> None:
    kept = stored(expires_in=timedelta(hours=1))
    for _ in range(5):
        stored(expires_in=-timedelta(seconds=1))
    assert purge("--dry-run") == "5 stored responses have expired.\n"
    assert purge("--batch", "2") == "Deleted 5 stored responses.\n"
    assert list(StoredResponse.objects.values_list("pk", flat=True)) == [kept]
    assert list(StoredFrames.objects.values_list("response_id", flat=True)) == [kept]
    assert purge() == "Deleted 0 stored responses.\n"


def test_what_is_held_stays_until_the_hold_is_lifted() -> None:
    held, gone = Writer().run(), Writer().run()
    for run in (held, gone):
        stored(expires_in=-timedelta(seconds=1), id_=run)
    hold = set_hold(run=held, by="nora", reason="x")
    assert purge("--dry-run") == "1 stored responses have expired.\n"
    assert purge("--batch", "1") == "Deleted 1 stored responses.\n"
    assert list(StoredFrames.objects.values_list("response_id", flat=True)) == [held]
    lift_hold(hold.pk, by="nora", reason="x")
    assert purge() == "Deleted 1 stored responses.\n"


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(CommandError):
        purge("--batch", "0")
