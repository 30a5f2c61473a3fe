"""Keys are made once, found by their text, and refused once they are revoked, expired or wrong."""

from datetime import timedelta

import pytest

from gateway_project import clock
from gateway_project.access.models import APIKey, hash_secret

pytestmark = pytest.mark.django_db


def test_a_key_is_found_by_its_text_and_only_its_hash_is_stored() -> None:
    key, text = APIKey.objects.create_key("shop", agents=["scripted"])
    assert text.startswith(f"gw-{key.prefix}-")
    assert len(text) > 50
    assert APIKey.objects.find(text) == key
    row = APIKey.objects.values().get()
    assert row["hash"] == hash_secret(text)
    secret = text.removeprefix(f"gw-{key.prefix}-")
    assert secret not in str(row)


def test_two_keys_are_never_alike() -> None:
    one, two = APIKey.objects.create_key("shop"), APIKey.objects.create_key("shop")
    assert one[1] != two[1]
    assert APIKey.objects.find(one[1]) == one[0]
    assert APIKey.objects.find(two[1]) == two[0]


def test_a_revoked_key_is_not_found() -> None:
    key, text = APIKey.objects.create_key("shop")
    APIKey.objects.update(revoked_at=clock.now())
    key.refresh_from_db()
    assert APIKey.objects.find(text) is None
    assert not key.is_usable


def test_a_key_is_found_until_it_expires() -> None:
    key, text = APIKey.objects.create_key("shop", expires_at=clock.now() + timedelta(minutes=1))
    assert APIKey.objects.find(text) == key
    assert key.is_usable
    APIKey.objects.update(expires_at=clock.now() - timedelta(microseconds=1))
    key.refresh_from_db()
    assert APIKey.objects.find(text) is None
    assert not key.is_usable


def test_anything_else_is_not_found() -> None:
    key, text = APIKey.objects.create_key("shop")
    other, other_text = APIKey.objects.create_key("other")
    secret = text.removeprefix(f"gw-{key.prefix}-")
    for wrong in (
        "",
        "gw",
        "gw-",
        "gw--",
        f"gw-{key.prefix}",
        f"gw-{key.prefix}-",
        text[:-1],
        text + "x",
        text.upper(),
        text.replace("gw-", "sk-"),
        secret,
        f"gw-{other.prefix}-{secret}",
        f"gw-{key.prefix}-{other_text.removeprefix(f'gw-{other.prefix}-')}",
        key.hash,
        f"gw-{key.prefix}-{key.hash}",
        "gw-%00'; --",
        "gw-" + "ü" * 12 + "-ü",
        "\x00" * 100,
        "gw-" + "a" * 100_000,
    ):
        assert APIKey.objects.find(wrong) is None, wrong


def test_its_name_and_prefix_name_it_and_its_secret_does_not_show() -> None:
    key, text = APIKey.objects.create_key("shop")
    assert str(key) == f"shop (gw-{key.prefix}…)"
    assert text.split("-", 2)[2] not in repr(key)
