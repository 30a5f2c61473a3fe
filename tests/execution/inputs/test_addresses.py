"""Which addresses may be connected to: IANA's registries, and what hides in an IPv6 address."""

import ipaddress

import pytest

from gateway_project.execution.inputs.addresses import is_forbidden, is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111"]
PUBLIC += ["2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "127.0.0.1", "127.255.0.1"),
    *("100.64.0.1", "100.127.255.255", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "::1", "fc00::1", "fd12:3456::1", "2001::1", "2001:db8::1", "2002:808:808::1"),
    *("3fff::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "fec0::1", "5f00::1", "4000::1", "2001:1ff:ffff::1"),
]
FORBIDDEN = [
    *("0.0.0.1", "0.1.2.3", "169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "fe80::1", "fe80::1%lo", "febf::1"),
    *("ff02::1", "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert is_public(address)
    assert not is_forbidden(address)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_which_an_operator_may_allow(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not is_public(address)
    assert not is_forbidden(address)


@pytest.mark.parametrize("text", FORBIDDEN)
def test_addresses_that_nobody_can_allow(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not is_public(address)
    assert is_forbidden(address)
