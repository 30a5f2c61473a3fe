"""What Django's middleware would check: the Host header, CORS, and who the client is behind proxies."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import Settings

from gateway_project.transport.errors import InvalidHost
from gateway_project.transport.host import check_host, client_address, cors_headers, preflight_headers


def scope(*headers: tuple[str, str], client: str | None = "192.0.2.1") -> dict[str, Any]:
    """A request with these headers, from this peer."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "headers": pairs, "client": [client, 4711] if client is not None else None}


# -- Host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["shop.example", "shop.example:8000", "SHOP.Example", "a.api.example", "[2001:db8::1]"]
)
def test_a_host_of_the_list_may_be_named(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["shop.example", ".api.example", "[2001:db8::1]"]
    check_host(scope(("host", host)))


WRONG_HOSTS = ["evil.example", "shop.example.evil", "", "shop.example:port", "shop.example/x", "a b", "x\xff"]


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_another_host_is_refused(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]
    with pytest.raises(InvalidHost) as refused:
        check_host(scope(("host", host)))
    assert (refused.value.status, refused.value.code) == (400, "invalid_host")


def test_a_request_without_a_host_is_refused_even_where_all_are_allowed(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    check_host(scope(("host", "anything.example")))
    with pytest.raises(InvalidHost):
        check_host(scope())


@pytest.mark.parametrize("host", ["localhost:8000", "sub.localhost", "127.0.0.1", "[::1]:8000"])
def test_with_debug_and_an_empty_list_ones_own_machine_may_be_named(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = True
    check_host(scope(("host", host)))
    with pytest.raises(InvalidHost):
        check_host(scope(("host", "shop.example")))
    settings.DEBUG = False
    with pytest.raises(InvalidHost):
        check_host(scope(("host", host)))


def test_debug_adds_nothing_to_a_list_that_is_not_empty(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]
    settings.DEBUG = True
    with pytest.raises(InvalidHost):
        check_host(scope(("host", "localhost")))


def test_a_forwarded_host_counts_only_where_it_is_believed(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]
    inside = scope(("host", "backend:8000"), ("x-forwarded-host", "shop.example"))
    forged = scope(("host", "shop.example"), ("x-forwarded-host", "evil.example"))
    settings.USE_X_FORWARDED_HOST = False
    check_host(forged)
    with pytest.raises(InvalidHost):
        check_host(inside)
    settings.USE_X_FORWARDED_HOST = True
    check_host(inside)
    check_host(scope(("host", "shop.example")))
    with pytest.raises(InvalidHost):
        check_host(forged)


# -- CORS ---------------------------------------------------------------------------------------------

SHOP = "https://shop.example"


def cors(origin: str | None, *allowed: str) -> dict[bytes, bytes]:
    with override_settings(GATEWAY={"CORS_ORIGINS": list(allowed)}):
        return dict(cors_headers(scope(("origin", origin)) if origin else scope()))


def test_without_allowed_origins_nothing_is_said() -> None:
    assert cors(SHOP) == {}


@pytest.mark.parametrize("allowed", [SHOP, "*"])
def test_an_allowed_origin_is_named_and_may_read_our_headers(allowed: str) -> None:
    assert cors(SHOP, allowed) == {
        b"vary": b"Origin",
        b"access-control-allow-origin": SHOP.encode(),
        b"access-control-expose-headers": b"x-request-id, retry-after, x-should-retry",
    }


@pytest.mark.parametrize("origin", ["https://evil.example", "http://shop.example", f"{SHOP}.evil", "null", None])
def test_any_other_origin_is_not_named_but_caches_are_told(origin: str | None) -> None:
    assert cors(origin, SHOP) == {b"vary": b"Origin"}


def test_a_preflight_is_told_the_methods_and_given_the_headers_it_asks_for() -> None:
    asked = scope(("access-control-request-headers", "authorization, x-stainless-os"))
    assert dict(preflight_headers(asked, "POST, OPTIONS")) == {
        b"access-control-allow-methods": b"POST, OPTIONS",
        b"access-control-allow-headers": b"authorization, x-stainless-os",
        b"access-control-max-age": b"600",
    }
    assert dict(preflight_headers(scope(), "POST"))[b"access-control-allow-headers"] == b"authorization, content-type"


# -- who the client is --------------------------------------------------------------------------------


@pytest.fixture
def proxies() -> Iterator[None]:
    """Two proxies of ours in a row, and a network of them."""
    with override_settings(GATEWAY={"TRUSTED_PROXIES": ["127.0.0.1", "10.0.0.0/8", "fd00::/8", "::1"]}):
        yield


CLIENT = "203.0.113.7"

CHAINS: dict[str, tuple[str, list[str], str]] = {
    # the peer, its X-Forwarded-For lines, and who the client is
    "no proxy": ("203.0.113.7", [], CLIENT),
    "not our proxy": (CLIENT, ["198.51.100.1"], CLIENT),
    "our proxy": ("127.0.0.1", [CLIENT], CLIENT),
    "our proxy, by IPv6": ("::1", [CLIENT], CLIENT),
    "our proxy, IPv4 on an IPv6 socket": ("::ffff:127.0.0.1", [CLIENT], CLIENT),
    "a chain of ours": ("127.0.0.1", [f"{CLIENT}, 10.1.2.3,fd00::5"], CLIENT),
    "a chain in lines": ("127.0.0.1", [CLIENT, "10.1.2.3"], CLIENT),
    "a client of IPv6": ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
    "what the client claims before": ("127.0.0.1", [f"198.51.100.1, {CLIENT}"], CLIENT),
    "what the client claims in a line of its own": ("127.0.0.1", ["198.51.100.1", CLIENT], CLIENT),
    "a client that claims to be ours": ("127.0.0.1", [f"127.0.0.1, {CLIENT}, 10.0.0.1"], CLIENT),
    "a proxy that names nobody": ("127.0.0.1", [], "127.0.0.1"),
    "a proxy that names nothing": ("127.0.0.1", [" , ,"], "127.0.0.1"),
    "holes": ("127.0.0.1", [f",{CLIENT},, "], CLIENT),
    "all are ours": ("127.0.0.1", ["10.0.0.9, 10.0.0.1"], "10.0.0.9"),
    "garbage": ("127.0.0.1", ["unknown"], "127.0.0.1"),
    "garbage behind a proxy": ("127.0.0.1", [f"{CLIENT}, <script>, 10.0.0.1"], "10.0.0.1"),
    "garbage before the client": ("127.0.0.1", [f"\xff\xfe, {CLIENT}"], CLIENT),
    "no address at the peer": ("testclient", [CLIENT], "testclient"),
}


@pytest.mark.usefixtures("proxies")
@pytest.mark.parametrize(("peer", "lines", "client"), CHAINS.values(), ids=CHAINS)
def test_the_client_is_the_last_one_that_is_no_proxy_of_ours(peer: str, lines: list[str], client: str) -> None:
    assert client_address(scope(*(("x-forwarded-for", line) for line in lines), client=peer)) == client


@pytest.mark.usefixtures("proxies")
def test_a_unix_socket_has_no_address() -> None:
    assert client_address(scope(("x-forwarded-for", CLIENT), client=None)) == ""


def test_without_trusted_proxies_nobody_is_believed() -> None:
    with override_settings(GATEWAY={}):
        assert client_address(scope(("x-forwarded-for", CLIENT), client="127.0.0.1")) == "127.0.0.1"


def test_changed_settings_are_heard() -> None:
    asked = scope(("x-forwarded-for", CLIENT), client="10.0.0.1")
    for trusted, client in ((["10.0.0.1"], CLIENT), (["10.0.0.2"], "10.0.0.1"), ([], "10.0.0.1")):
        with override_settings(GATEWAY={"TRUSTED_PROXIES": trusted}):
            assert client_address(asked) == client


def test_the_networks_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway_project.transport import host

    with override_settings(GATEWAY={"TRUSTED_PROXIES": ["10.0.0.0/8"]}):
        client_address(scope(client="10.0.0.1"))
        monkeypatch.setattr(host, "parse_network", None)
        assert client_address(scope(("x-forwarded-for", CLIENT), client="10.0.0.1")) == CLIENT
