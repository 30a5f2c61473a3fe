"""API keys in the operators' API: made, shown once, revoked; and what a key may make."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from gateway_project import clock
from gateway_project.access.models import APIKey

KEYS = "/api/keys/"
MANAGE = [f"gateway_access.{action}_apikey" for action in ("view", "add", "change")]


def make(client: Client, **body: Any) -> Any:
    return client.post(KEYS, body, content_type="application/json")


def test_a_key_is_shown_once_and_works(admin_client: Client) -> None:
    until = clock.now() + timedelta(days=2)
    reply = make(admin_client, name="web shop", agents=["scripted"], expires_at=until.isoformat(), operate=True)
    assert (reply.status_code, reply["Cache-Control"]) == (201, "no-store")
    made = reply.json()
    text = made.pop("key")
    key = APIKey.objects.get()
    assert APIKey.objects.find(text) == key
    assert (key.name, key.agents, key.expires_at, key.operate) == ("web shop", ["scripted"], until, True)
    listed = admin_client.get(KEYS)
    assert listed.json() == {"next": None, "results": [made]}
    assert made["prefix"] == f"gw-{key.prefix}"
    secret = text.removeprefix(f"gw-{key.prefix}-")
    assert secret not in listed.content.decode()
    assert key.hash not in listed.content.decode()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "agents": ["script"]}, "agents"),
        ({"name": "x", "agents": "scripted"}, "agents"),
        ({"name": "x", "agent": ["scripted"]}, "agent"),
        ({"name": "x", "expires": "2130-01-01"}, "expires"),
        ({"name": "x", "operate": "yes"}, "operate"),
        ({"name": "x", "expires_at": "2020-01-01"}, "expires_at"),
        ({"name": "x", "expires_at": 20300101}, "expires_at"),
    ],
)
def test_a_wrong_wish_makes_no_key_and_the_field_is_named(
    admin_client: Client, body: dict[str, Any], param: str
) -> None:
    reply = make(admin_client, **body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert not APIKey.objects.exists()


def test_a_name_that_was_mistyped_is_guessed(admin_client: Client) -> None:
    assert "'scripted'" in make(admin_client, name="x", agents=["script"]).json()["error"]["message"]


def test_revoking_counts_at_once_and_the_first_time_stays(admin_client: Client) -> None:
    key, text = APIKey.objects.create_key("leaked")
    first = admin_client.post(f"{KEYS}{key.pk}/revoke").json()
    assert (first["usable"], first["id"]) == (False, key.pk)
    assert APIKey.objects.find(text) is None
    assert admin_client.post(f"{KEYS}{key.pk}/revoke").json() == first
    for unknown in (key.pk + 1, 10**30):
        assert admin_client.post(f"{KEYS}{unknown}/revoke").status_code == 404


def test_the_list_goes_page_by_page(admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    keys = [APIKey.objects.create_key(f"key {number}")[0].pk for number in range(5)]
    found: list[int] = []
    address: str | None = f"{KEYS}?limit=2"
    while address is not None:
        with django_assert_num_queries(3):  # session, user, page
            page = admin_client.get(address).json()
        found += [key["id"] for key in page["results"]]
        address = page["next"]
    assert found == keys


def test_making_and_revoking_cost_a_fixed_number_of_queries(
    admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):  # session, user, the key
        made = make(admin_client, name="x").json()
    with django_assert_num_queries(4):  # session, user, the end, the key
        admin_client.post(f"{KEYS}{made['id']}/revoke")


def test_a_key_makes_none_that_may_do_more_than_itself(operator: Client, settings: Settings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": MANAGE}}
    until = clock.now() + timedelta(days=1)
    assert make(operator, name="any").status_code == 201
    assert make(operator, name="operator", operate=True).status_code == 403
    APIKey.objects.filter(name="ops").update(agents=["scripted"], expires_at=until)
    assert make(operator, name="all agents", expires_at=until.isoformat()).status_code == 403
    assert make(operator, name="for ever", agents=["scripted"]).status_code == 403
    later = (until + timedelta(seconds=1)).isoformat()
    assert make(operator, name="longer", agents=["scripted"], expires_at=later).status_code == 403
    assert make(operator, name="within", agents=["scripted"], expires_at=until.isoformat()).status_code == 201
    assert set(APIKey.objects.values_list("name", flat=True)) == {"ops", "any", "within"}


def test_a_key_makes_none_of_which_less_is_kept(operator: Client, settings: Settings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"API": {"KEY_PERMISSIONS": MANAGE}}
    assert make(operator, name="any", content="digest").json()["content"] == "digest"
    assert make(operator, name="wrong", content="all").status_code == 400
    APIKey.objects.filter(name="ops").update(content="full")
    assert make(operator, name="unsaid").status_code == 403
    assert make(operator, name="unseen", content="none").status_code == 403
    assert make(operator, name="as itself", content="full").status_code == 201
    assert set(APIKey.objects.values_list("name", "content")) == {
        ("ops", "full"),
        ("any", "digest"),
        ("as itself", "full"),
    }
