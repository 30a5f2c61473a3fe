"""What was asked and answered is shown to those who may see it, each look is recorded, and nobody else sees it."""

import json
import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from pytest_django import Settings

from gateway_project import clock, ids
from gateway_project.review.admin.content import MOST_SHOWN
from gateway_project.review.models import AccessRecord
from gateway_project.runs.content.record import ContentRecord, KeepContent
from gateway_project.runs.content.removal import EraseContent
from gateway_project.runs.models import Run
from gateway_project.runs.seals.chain import ChainWriter
from tests.review.conftest import MakeRun, MakeUser

EVIL = "<script>alert('x')</script>"
REQUEST: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "text", "text": f"hello {EVIL}"}]},
    ],
    "max_output_tokens": 7,
}
ANSWER = [{"type": "text", "text": f"well well {EVIL}", "delivered": 5}]


def keep(run: Run, **fields: Any) -> None:
    """Content of a run, written as the journal does."""
    whole: dict[str, Any] = {
        "mode": "full",
        "request": json.dumps(REQUEST),
        "request_characters": 40,
        "answer": json.dumps(ANSWER),
        "answer_characters": 37,
        "delivered_characters": 5,
    }
    with ChainWriter().transaction(connection):
        KeepContent(ContentRecord(run_id=run.pk, at=clock.now(), **whole | fields)).apply(connection)


def page(run: Run) -> str:
    return f"/admin/gateway_runs/run/{run.pk}/content/"


def test_the_page_shows_both_sides_escaped_and_where_delivery_ended(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run("aborted")
    keep(run)
    response = as_user("view_run", "view_content").get(page(run))
    text = response.content.decode()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    for shown in (
        "be brief",
        "hello &lt;script&gt;",
        ">well </pre>",
        "Generated, but not delivered",
        ">well &lt;script&gt;",
        "max_output_tokens",
        "37 generated, 5 of these delivered",
        "Integrity: as sealed",
    ):
        assert shown in text, shown
    assert "<script>alert" not in text


def test_a_long_text_is_shown_to_a_bound_and_the_page_says_so(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * MOST_SHOWN}]}] * 3
    keep(run, request=json.dumps({"messages": messages}), answer=json.dumps([{"type": "text", "text": "y" * 10**6}]))
    text = as_user("view_run", "view_content").get(page(run)).content.decode()
    assert len(text) < 3 * MOST_SHOWN
    assert "2 earlier messages are not shown here" in text
    assert f"{10**6 - MOST_SHOWN} more characters are not shown here" in text


@pytest.mark.parametrize("address", [page, lambda run: f"/api/runs/{run.pk}/content"], ids=["admin", "api"])
@pytest.mark.parametrize("permissions", [(), ("view_run",), ("view_content",)])
def test_both_permissions_are_needed_and_a_refusal_does_not_tell_whether_there_is_any(
    as_user: MakeUser, make_run: MakeRun, address: Any, permissions: tuple[str, ...]
) -> None:
    run, without = make_run(), make_run()
    keep(run)
    client = as_user(*permissions)
    replies = [client.get(address(one)) for one in (run, without)]
    assert [reply.status_code for reply in replies] == [403, 403]
    assert (
        len(
            {
                reply.content.replace(str(one.pk).encode(), b"")
                for reply, one in zip(replies, (run, without), strict=True)
            }
        )
        <= 2
    )
    assert not AccessRecord.objects.filter(what="content").exists()
    if permissions == ("view_run",):
        assert "content/" not in client.get(f"/admin/gateway_runs/run/{run.pk}/change/").content.decode()


def test_the_mode_is_seen_by_whoever_may_see_the_run(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run(parameters={"content": "full"})
    keep(run)
    client = as_user("view_run")
    assert client.get(f"/api/runs/{run.pk}").json()["parameters"] == {"content": "full"}
    for address in (f"/api/runs/{run.pk}", f"/admin/gateway_runs/run/{run.pk}/change/"):
        assert "be brief" not in client.get(address).content.decode()


def test_the_run_leads_to_its_content_where_there_is_some(as_user: MakeUser, make_run: MakeRun) -> None:
    run, without = make_run(), make_run()
    keep(run)
    client = as_user("view_run", "view_content")
    assert page(run) in client.get(f"/admin/gateway_runs/run/{run.pk}/change/").content.decode()
    assert page(without) not in client.get(f"/admin/gateway_runs/run/{without.pk}/change/").content.decode()
    assert "Nothing is kept" in client.get(page(without)).content.decode()
    assert client.get(f"/admin/gateway_runs/run/{uuid.UUID(int=1)}/content/").status_code == 404


def test_the_api_gives_it_whole(as_user: MakeUser, make_run: MakeRun) -> None:
    run, without = make_run(), make_run()
    keep(run)
    client = as_user("view_run", "view_content")
    shown = client.get(f"/api/runs/{ids.chat_completion_id(run.pk)}/content").json()
    assert (shown["id"], shown["mode"], shown["request"], shown["erased"]) == (str(run.pk), "full", REQUEST, False)
    [piece] = shown["answer"]
    assert piece == {"type": "text", "choice": 0, "phase": None, "call_id": None, "name": None} | ANSWER[0]
    assert client.get(f"/api/runs/{without.pk}/content").status_code == 404


def test_keys_have_it_only_where_the_shop_says_so(operator: Client, make_run: MakeRun, settings: Settings) -> None:
    run = make_run()
    keep(run)
    assert operator.get(f"/api/runs/{run.pk}/content").status_code == 403
    names = ["gateway_runs.view_run", "gateway_runs.view_content"]
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": names}}
    assert operator.get(f"/api/runs/{run.pk}/content").status_code == 200
    record = AccessRecord.objects.get(what="content")
    assert (record.who, record.who_kind, record.via, record.run) == ("API key ops", "api_key", "api", run.pk)


def test_what_was_erased_is_told_and_not_shown(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    keep(run)
    with ChainWriter().transaction(connection):
        assert EraseContent([run.pk]).apply(connection) == 1
    client = as_user("view_run", "view_content")
    text = client.get(page(run)).content.decode()
    assert "It was erased since" in text
    assert "be brief" not in text
    shown = client.get(f"/api/runs/{run.pk}/content").json()
    assert (shown["erased"], shown["request"], shown["answer"], shown["answer_characters"]) == (True, None, None, 37)


@pytest.mark.parametrize("address", [page, lambda run: f"/api/runs/{run.pk}/content"], ids=["admin", "api"])
def test_a_look_that_cannot_be_recorded_sees_nothing(
    as_user: MakeUser, make_run: MakeRun, address: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    keep(run)
    client = as_user("view_run", "view_content")

    def refuse(*args: object, **kwargs: object) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(AccessRecord, "save", refuse)
    reply = client.get(address(run))
    assert reply.status_code == 503
    assert reply["Retry-After"] == "1"
    assert "hello" not in reply.content.decode()
    for plain in (f"/admin/gateway_runs/run/{run.pk}/change/", "/admin/gateway_runs/run/", f"/api/runs/{run.pk}"):
        assert client.get(plain).status_code == 200
    assert b"".join(client.get("/api/runs/export"))


def test_each_look_at_content_leaves_a_row(as_user: MakeUser, make_run: MakeRun) -> None:
    run = make_run()
    keep(run)
    client = as_user("view_run", "view_content")
    for _ in range(3):
        client.get(page(run))
    client.get(f"/api/runs/{run.pk}/content")
    records = AccessRecord.objects.filter(what="content", run=run.pk, who="nina", who_kind="user")
    assert sorted(records.values_list("via", flat=True)) == ["admin", "admin", "admin", "api"]
