"""``manage.py eraseprincipal``: who is meant, what it refuses, what it says. What it leaves: `tests/e2e/retention`."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client

from gateway_project.access.models import APIKey
from gateway_project.review.access import Onlooker, note_look
from gateway_project.review.management.commands import eraseprincipal as command
from gateway_project.review.models import Accessed, AccessRecord, AccessVia
from gateway_project.runs.journal import CloseRun, InsertRun
from gateway_project.runs.models import LegalHold, Run
from gateway_project.runs.retention.holds import lift_hold, set_hold
from tests.runs.records import make_record
from tests.runs.seals.conftest import Writer, ended, verify

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.GATEWAY = settings.GATEWAY | {"SPILL_DIR": str(tmp_path)}
    monkeypatch.setattr(command, "FRESH_SECONDS", 0)
    yield


@pytest.fixture
def key() -> APIKey:
    made: APIKey = APIKey.objects.create_key("nina")[0]
    return made


def of(key: APIKey, **fields: Any) -> dict[str, Any]:
    return {"principal_kind": "api_key", "principal_id": str(key.pk), "principal_label": "nina"} | fields


def erase(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("eraseprincipal", *arguments, stdout=out)
    return out.getvalue().splitlines()


def named() -> int:
    return Run.objects.exclude(principal_id="").count()


@pytest.mark.parametrize("by_label", [False, True])
def test_a_keys_runs_and_the_key_itself(key: APIKey, by_label: bool) -> None:
    for _ in range(3):
        Writer().run(**of(key))
    other = Writer().run(**of(key, principal_id="999", principal_label="otto"))
    arguments = ("--label", "nina") if by_label else ("api_key", str(key.pk))
    assert erase(*arguments, "--dry-run") == [
        "Would erase 3 runs.",
        "Open: 0 runs. Held: 0 runs.",
        "Would revoke and delete the API key.",
    ]
    assert named() == 4
    key.refresh_from_db()
    assert key.is_usable
    assert erase(*arguments, "--batch", "2") == ["Revoked the API key.", "Erased 3 runs.", "Deleted the API key."]
    assert not APIKey.objects.exists()
    assert set(Run.objects.exclude(principal_id="").values_list("pk", flat=True)) == {other}
    assert verify() == {}
    assert erase("api_key", str(key.pk)) == ["Erased 0 runs."]


def test_the_runs_page_says_that_the_name_was_erased(key: APIKey, admin_client: Client) -> None:
    run = Writer().run(**of(key))
    unnamed = Writer().run(**of(key, principal_id="999", principal_label=""))
    erase("api_key", str(key.pk))
    page = "/admin/gateway_runs/run/{}/change/"
    assert "Somebody whose name was erased asked for" in admin_client.get(page.format(run)).content.decode()
    assert "<bdi>Somebody unnamed</bdi> asked for" in admin_client.get(page.format(unnamed)).content.decode()


def test_the_admins_log_of_the_key_does_not_name_it(key: APIKey, admin_client: Client) -> None:
    other = APIKey.objects.create_key("otto")[0]
    for each in (key, other):
        admin_client.post(f"/admin/gateway_access/apikey/{each.pk}/revoke/")
    assert any("nina" in entry.object_repr for entry in LogEntry.objects.all())
    erase("api_key", str(key.pk))
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {"(erased)", str(other)}
    assert LogEntry.objects.filter(object_id=str(key.pk)).count() == 0
    assert LogEntry.objects.count() == 2, "that something was done is kept"


def test_a_hold_on_the_principal_stops_it_before_it_begins(key: APIKey) -> None:
    Writer().run(**of(key))
    hold = set_hold(kind="api_key", principal_id=str(key.pk), by="nora", reason="x")
    with pytest.raises(CommandError, match=f"Nothing was erased: legal hold {hold.pk} is on this principal"):
        erase("api_key", str(key.pk))
    key.refresh_from_db()
    assert key.is_usable
    assert named() == 1
    lift_hold(hold.pk, by="nora", reason="nina asked")
    erase("api_key", str(key.pk))
    hold.refresh_from_db()
    assert (hold.principal_id, hold.reason, hold.lift_reason) == ("", "", "")


def test_held_and_open_runs_are_left_and_reported(key: APIKey) -> None:
    held = Writer().run(**of(key))
    Writer().run(**of(key))
    running = make_record(**of(key))
    Writer().commit(InsertRun(running))
    hold = set_hold(run=held, by="nora", reason="x")
    with pytest.raises(CommandError, match="left 1 run still open and 1 run under a legal hold") as stopped:
        erase("api_key", str(key.pk))
    assert stopped.value.returncode == 1
    assert named() == 2
    key.refresh_from_db()
    assert not key.is_usable, "revoked first, deleted last"
    lift_hold(hold.pk, by="nora", reason="x")
    with pytest.raises(CommandError, match="left 1 run still open"):
        erase("api_key", str(key.pk))
    assert named() == 1


def look(asked: str) -> None:
    note_look(Onlooker(AccessVia.ADMIN, "user", "1", "otto"), Accessed.LIST, asked=asked)


def test_what_others_filtered_by_goes_with_the_runs_that_bear_it(key: APIKey) -> None:
    """A second pass, behind one that had to leave a run, finds the name in no row any more."""
    known = {"client_address": "203.0.113.7", "client_request_id": "order-1", "parameters": {"user": "n@example.org"}}
    Writer().run(**of(key, principal_label="nina of old") | known)
    running = make_record(**of(key) | known)
    Writer().commit(InsertRun(running))
    for asked in (
        "principal=nina+of+old&status=failed",
        "q=nina+of+old",
        f"key={key.pk}",
        "client_address=203.0.113.7&agent=scripted",
        "client_request_id=order-1",
        "q=user%3An%40example.org",
        "client_address=203.0.113.70",
        "client_request_id=order-11",
    ):
        look(asked)
    with pytest.raises(CommandError, match="left 1 run still open"):
        erase("api_key", str(key.pk))
    look("client_address=203.0.113.7")  # still that of the open run
    Writer().commit(CloseRun(ended(running)))
    erase("api_key", str(key.pk))
    assert list(AccessRecord.objects.order_by("pk").values_list("asked", flat=True)) == [
        "principal=%28erased%29&status=failed",
        "q=%28erased%29",
        "key=%28erased%29",
        "client_address=%28erased%29&agent=scripted",
        "client_request_id=%28erased%29",
        "q=%28erased%29",
        "client_address=203.0.113.70",
        "client_request_id=order-11",
        "client_address=%28erased%29",
    ]


def test_a_lifted_hold_on_one_of_its_runs_does_not_tell_why(key: APIKey) -> None:
    run, other = Writer().run(**of(key)), Writer().run(principal_id="999", principal_label="otto")
    for each in (run, other):
        lift_hold(set_hold(run=each, by="nora", reason="nina said").pk, by="nora", reason="nina asked")
    erase("api_key", str(key.pk))
    holds = LegalHold.objects.order_by("pk").values_list("run", "reason", "set_by", "lift_reason")
    assert list(holds) == [(run, "", "nora", ""), (other, "nina said", "nora", "nina asked")]


def test_a_principal_of_another_kind_has_no_key(key: APIKey) -> None:
    Writer().run(principal_kind="user", principal_id=str(key.pk), principal_label="nina")
    assert erase("user", str(key.pk)) == ["Erased 1 run."]
    key.refresh_from_db()
    assert key.is_usable
    assert erase("api_key", "no-number") == ["Erased 0 runs."]
    assert erase("api_key", "9" * 64) == ["Erased 0 runs."]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say KIND and ID"),
        (("api_key",), "Say KIND and ID"),
        (("api_key", "1", "--label", "nina"), "Say KIND and ID"),
        (("api_key", "--label", "nina"), "Say KIND and ID"),
        (("api_key", ""), "may be empty"),
        (("", ""), "may be empty"),
        (("--label", "nobody"), "Nobody is or was known"),
        (("--label", "otto"), "Several are or were known as 'otto': api_key 8, user 9"),
        (("api_key", "1", "--batch", "0"), "must be a whole number"),
    ],
)
def test_who_is_not_clearly_meant_is_left_alone(arguments: tuple[str, ...], said: str) -> None:
    Writer().run(principal_kind="api_key", principal_id="8", principal_label="otto")
    Writer().run(principal_kind="user", principal_id="9", principal_label="otto")
    Writer().run(principal_kind="", principal_id="", principal_label="")
    with pytest.raises(CommandError, match=said):
        erase(*arguments)
    assert named() == 2
