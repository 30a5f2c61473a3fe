"""API keys in the admin: the text is shown once, the hash never; keys are revoked, not deleted."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway_project import clock
from gateway_project.access.models import APIKey

pytestmark = pytest.mark.django_db

KEYS = "/admin/gateway_access/apikey/"
NO_EXPIRY = {"expires_at_0": "", "expires_at_1": ""}
TEXT = re.compile(r"gw-[0-9a-f]{12}-[\w-]{40,}")


def add(client: Client, **fields: object) -> Any:
    return client.post(f"{KEYS}add/", {"name": "shop", **NO_EXPIRY, **fields})


@pytest.fixture
def as_user() -> Callable[..., Client]:
    """A client logged in as a member of the staff with these permissions only."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("nina", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return log_in


class TestMaking:
    """The form, and the one page that shows the key."""

    def test_the_answer_to_the_form_shows_the_key(self, admin_client: Client) -> None:
        response = add(admin_client, agents=["scripted"])
        assert response.status_code == 200
        assert "no-store" in response["Cache-Control"]
        key = APIKey.objects.get()
        [text] = set(TEXT.findall(response.content.decode()))
        assert APIKey.objects.find(text) == key
        assert (key.name, key.agents, key.expires_at) == ("shop", ["scripted"], None)

    def test_the_text_is_stored_nowhere(self, admin_client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(0)
        response = add(admin_client)
        [text] = set(TEXT.findall(response.content.decode()))
        secret = text.split("-", 2)[2]
        entry = LogEntry.objects.get()
        assert entry.object_id == str(APIKey.objects.get().pk)
        assert secret not in f"{entry.object_repr} {entry.change_message}"
        assert secret not in str([session.get_decoded() for session in Session.objects.all()])
        assert secret not in f"{response.cookies} {response.headers} {admin_client.cookies}"
        assert secret not in caplog.text
        assert secret not in str(APIKey.objects.values())
        for page in (KEYS, f"{KEYS}{entry.object_id}/change/", f"{KEYS}{entry.object_id}/history/", "/admin/"):
            later = admin_client.get(page)
            assert secret not in later.content.decode()
            assert not later.context.get("messages")

    def test_none_ticked_means_all_agents(self, admin_client: Client) -> None:
        assert "for all agents" in add(admin_client).content.decode()
        assert APIKey.objects.get().agents == []

    def test_an_unknown_agent_is_refused(self, admin_client: Client) -> None:
        assert "Select a valid choice" in add(admin_client, agents=["nobody"]).content.decode()
        assert not APIKey.objects.exists()

    def test_an_expiry_in_the_past_is_refused(self, admin_client: Client) -> None:
        response = add(admin_client, expires_at_0="2020-01-01", expires_at_1="00:00")
        assert "This lies in the past" in response.content.decode()
        assert not APIKey.objects.exists()

    def test_an_expiry_is_kept(self, admin_client: Client) -> None:
        day = clock.now().date() + timedelta(days=30)
        add(admin_client, expires_at_0=day.isoformat(), expires_at_1="12:00")
        expires_at = APIKey.objects.get().expires_at
        assert expires_at is not None
        assert (expires_at.date(), expires_at.hour) == (day, 12)

    def test_prefix_and_hash_cannot_be_chosen(self, admin_client: Client) -> None:
        add(admin_client, prefix="aaaaaaaaaaaa", hash="x")
        key = APIKey.objects.get()
        assert key.prefix != "aaaaaaaaaaaa"
        assert len(key.hash) == 128

    def test_it_needs_the_permission_to_add(self, as_user: Callable[..., Client]) -> None:
        assert add(as_user("view_apikey", "change_apikey")).status_code == 403
        assert not APIKey.objects.exists()


class TestChanging:
    """Name, agents and expiry; nothing else."""

    def test_name_and_agents_can_be_changed_and_the_key_stays_the_same(self, admin_client: Client) -> None:
        key, text = APIKey.objects.create_key("shop")
        posted = {"name": "shop in Kiel", "agents": ["scripted"], **NO_EXPIRY, "hash": "x", "prefix": "y"}
        assert admin_client.post(f"{KEYS}{key.pk}/change/", posted).status_code == 302
        found = APIKey.objects.find(text)
        assert found is not None
        assert (found.name, found.agents) == ("shop in Kiel", ["scripted"])

    def test_an_agent_that_is_not_configured_any_more_stays_unless_it_is_unticked(self, admin_client: Client) -> None:
        key, _ = APIKey.objects.create_key("shop", agents=["retired"])
        address = f"{KEYS}{key.pk}/change/"
        assert "retired (not configured any more)" in admin_client.get(address).content.decode()
        admin_client.post(address, {"name": "shop", "agents": ["retired"], **NO_EXPIRY})
        assert APIKey.objects.get().agents == ["retired"]

    def test_an_expired_key_can_be_renamed(self, admin_client: Client) -> None:
        expired = clock.now().replace(microsecond=0) - timedelta(days=1)
        key, _ = APIKey.objects.create_key("shop", expires_at=expired)
        when = {"expires_at_0": f"{expired:%Y-%m-%d}", "expires_at_1": f"{expired:%H:%M:%S}"}
        assert admin_client.post(f"{KEYS}{key.pk}/change/", {"name": "old shop", **when}).status_code == 302
        assert APIKey.objects.get().name == "old shop"

    def test_the_hash_is_never_shown(self, admin_client: Client) -> None:
        key, _ = APIKey.objects.create_key("shop")
        for page in (KEYS, f"{KEYS}{key.pk}/change/"):
            shown = admin_client.get(page).content.decode()
            assert key.hash not in shown
            assert f"gw-{key.prefix}-…" in shown

    def test_who_may_only_view_sees_it_and_changes_nothing(self, as_user: Callable[..., Client]) -> None:
        key, _ = APIKey.objects.create_key("shop", agents=["scripted"])
        client = as_user("view_apikey")
        address = f"{KEYS}{key.pk}/change/"
        page = client.get(address).content.decode()
        assert "scripted" in page
        assert "Revoke this key" not in page
        assert client.post(address, {"name": "mine", **NO_EXPIRY}).status_code == 403
        assert client.get(f"{KEYS}{key.pk}/revoke/").status_code == 403
        assert client.post(f"{KEYS}{key.pk}/revoke/").status_code == 403
        client.post(KEYS, {"action": "revoke_selected", "_selected_action": [key.pk], "confirmed": "yes"})
        assert APIKey.objects.filter(name="shop", revoked_at=None).exists()


class TestRevoking:
    """It is asked for, happens once, and leaves the key in the list."""

    def test_the_button_asks_first(self, admin_client: Client) -> None:
        key, text = APIKey.objects.create_key("shop")
        address = f"{KEYS}{key.pk}/revoke/"
        assert address in admin_client.get(f"{KEYS}{key.pk}/change/").content.decode()
        assert "Revoke this API key?" in admin_client.get(address).content.decode()
        assert APIKey.objects.find(text) == key
        after = admin_client.post(address, follow=True)
        assert APIKey.objects.find(text) is None
        page = after.content.decode()
        assert f"Revoked: {key}" in page
        assert "gw-key-revoked" in page
        assert 'name="_save"' not in page
        assert LogEntry.objects.get().change_message == "Revoked."

    def test_the_first_time_stays(self, admin_client: Client) -> None:
        key, _ = APIKey.objects.create_key("shop")
        admin_client.post(f"{KEYS}{key.pk}/revoke/")
        first = APIKey.objects.get().revoked_at
        assert first is not None
        page = admin_client.post(f"{KEYS}{key.pk}/revoke/", follow=True)
        assert "revoked already" in page.content.decode()
        assert APIKey.objects.get().revoked_at == first
        assert LogEntry.objects.count() == 1

    def test_a_revoked_key_cannot_be_changed(self, admin_client: Client) -> None:
        key, _ = APIKey.objects.create_key("shop")
        admin_client.post(f"{KEYS}{key.pk}/revoke/")
        assert admin_client.post(f"{KEYS}{key.pk}/change/", {"name": "x", **NO_EXPIRY}).status_code == 403

    def test_the_action_asks_first_and_revokes_several(self, admin_client: Client) -> None:
        keys = [APIKey.objects.create_key(name)[0] for name in ("one", "two", "three")]
        data = {"action": "revoke_selected", "_selected_action": [key.pk for key in keys[:2]]}
        asking = admin_client.post(KEYS, data)
        assert "Revoke these 2 API keys?" in asking.content.decode()
        assert not APIKey.objects.filter(revoked_at__isnull=False).exists()
        assert admin_client.post(KEYS, data | {"confirmed": "yes"}).status_code == 302
        assert list(APIKey.objects.usable()) == [keys[2]]
        again = admin_client.post(KEYS, data, follow=True)
        assert "revoked already" in again.content.decode()

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_no_key_is_deleted(self, admin_client: Client, method: str) -> None:
        key, _ = APIKey.objects.create_key("shop")
        assert getattr(admin_client, method)(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        admin_client.post(KEYS, {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"})
        assert APIKey.objects.filter(pk=key.pk).exists()

    def test_an_unknown_key_is_not_found(self, admin_client: Client) -> None:
        assert admin_client.get(f"{KEYS}7/revoke/").status_code == 404


def test_the_list_shows_each_keys_state(
    admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    APIKey.objects.create_key("usable", agents=["scripted", "other"])
    APIKey.objects.create_key("expired", expires_at=clock.now() - timedelta(days=1))
    revoked, _ = APIKey.objects.create_key("revoked")
    APIKey.objects.filter(pk=revoked.pk).update(revoked_at=clock.now())
    with django_assert_num_queries(5):  # session, user, two counts, the page
        page = admin_client.get(KEYS).content.decode()
    for state in ("Usable", "Expired", "Revoked"):
        assert f'<span class="gw-key-state gw-key-{state.lower()}">{state}</span>' in page
    assert "scripted, other" in page


def test_names_are_escaped(admin_client: Client) -> None:
    evil = "<script>alert(1)</script>"
    shown = add(admin_client, name=evil)
    key = APIKey.objects.get()
    pages: list[Any] = [
        shown,
        *(admin_client.get(f"{KEYS}{page}") for page in ("", f"{key.pk}/change/", f"{key.pk}/revoke/")),
    ]
    for page in pages:
        assert evil not in page.content.decode()


def test_the_list_is_sorted_by_time_as_well(admin_client: Client) -> None:
    for name, hours in (("a", 2), ("b", 3), ("c", 1)):
        APIKey.objects.create_key(name, expires_at=clock.now() + timedelta(hours=hours))
    page = admin_client.get("/admin/gateway_access/apikey/?o=-6")
    assert [key.name for key in page.context["cl"].result_list] == ["b", "a", "c"]
    assert "(UTC)" in page.content.decode()
