"""Access records of lists and exports go by an age of their own, and that they went stays on record."""

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.http import QueryDict

from gateway_project import clock
from gateway_project.review.access import AccessRecords
from gateway_project.review.command_line import os_user
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from tests.review.conftest import MakeRun, MakeUser

pytestmark = pytest.mark.django_db(transaction=True)

ACCESSES = "/admin/gateway_review/accessrecord/"


@pytest.fixture(autouse=True)
def _own_spill(tmp_path: Path, settings: Any) -> Iterator[None]:
    settings.GATEWAY = settings.GATEWAY | {"SPILL_DIR": str(tmp_path)}
    yield


def look(what: Accessed, *, days: float, **fields: Any) -> AccessRecord:
    at = clock.now() - timedelta(days=days)
    who = {"who_kind": "user", "who_id": "1", "who": "nina"}
    return AccessRecord.objects.create(at=at, what=what, via=AccessVia.ADMIN, **who, **fields)


def purgeruns(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("purgeruns", *arguments, stdout=out)
    return out.getvalue().splitlines()


def kept() -> set[Any]:
    return set(AccessRecord.objects.exclude(what=Accessed.REMOVAL).values_list("pk", flat=True))


def told(record: AccessRecord) -> dict[str, Any]:
    return QueryDict(record.asked).dict()


def test_looks_of_no_run_go_and_one_row_says_so(make_run: MakeRun, as_user: MakeUser) -> None:
    run = make_run()
    old = [look(Accessed.LIST, days=91 + number, asked="question=failed") for number in range(5)]
    old.append(look(Accessed.EXPORT, days=400))
    young = look(Accessed.EXPORT, days=89)
    of_run = [look(what, days=400, run=run.pk) for what in (Accessed.RUN, Accessed.CONTENT)]
    assert purgeruns("--looks-older-than", "90d", "--dry-run") == ["Access records of no run: 6 are older."]
    assert len(kept()) == 9
    begun = clock.now()
    assert purgeruns("--looks-older-than", "90d", "--batch", "2") == ["Access records of no run: removed 6."]
    assert kept() == {young.pk, *(record.pk for record in of_run)}
    word = AccessRecord.objects.get(what=Accessed.REMOVAL)
    assert (word.who, word.who_kind, word.via, word.run) == (os_user(), "os_user", AccessVia.COMMAND, None)
    assert told(word)["removed"] == "6"
    assert begun <= datetime.fromisoformat(told(word)["before"]) + timedelta(days=90) <= clock.now()
    assert clock.now() - word.at < timedelta(minutes=5)

    shown = as_user("view_accessrecord", name="auditor").get(f"{ACCESSES}?what=removal").content.decode()
    assert "Removal of access records" in shown
    assert "removed: 6" in shown
    assert str(word) == f"{os_user()} removed access records"


def test_each_walk_leaves_word_and_word_is_never_removed() -> None:
    for days in (91, 92):
        look(Accessed.LIST, days=days)
        purgeruns("--looks-older-than", "90d")
    words = AccessRecord.objects.filter(what=Accessed.REMOVAL)
    assert [told(word)["removed"] for word in words] == ["1", "1"]
    words.update(at=clock.now() - timedelta(days=4000))
    assert purgeruns("--looks-older-than", "90d") == ["Access records of no run: removed 0."]
    assert words.count() == 2, "nothing went, so there is nothing to tell"


def test_no_look_goes_without_word(monkeypatch: pytest.MonkeyPatch) -> None:
    record = look(Accessed.LIST, days=91)

    def nobody() -> str:
        raise ValueError

    monkeypatch.setattr("gateway_project.review.access.os_user", nobody)
    with pytest.raises((CommandError, ValueError)):
        purgeruns("--looks-older-than", "90d")
    assert kept() == {record.pk}


def test_looks_at_a_run_go_with_it(make_run: MakeRun) -> None:
    run = make_run(ago=100 * 24 * 3600)
    look(Accessed.RUN, days=1, run=run.pk)
    young = look(Accessed.LIST, days=1)
    said = purgeruns("--older-than", "90d", "--looks-older-than", "90d")
    assert said == ["Purged 1 run.", "Access records of no run: removed 0."]
    assert kept() == {young.pk}


def test_a_page_that_is_not_full_is_the_last(db: None) -> None:
    from django.db import connection

    for days in (91, 92, 93):
        look(Accessed.LIST, days=days)
    records = AccessRecords()
    before = clock.now() - timedelta(days=90)
    assert records.count_loose_before(before, connection) == 3
    assert [records.remove_loose(before, 2, connection) for _ in range(3)] == [2, 1, 0]
