"""Which addresses a client may make this server connect to.

Source: IANA's registries of special-purpose addresses for IPv4 and IPv6. The tables are our own because what
`ipaddress` takes for global differs between Python's versions, and because some metadata services stand outside.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # this host
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "168.63.129.16/32",  # Azure's host
            "100.100.100.200/32",  # Alibaba's metadata
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "::/128",
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # Amazon's metadata
            "fd20:ce::254/128",  # Google's metadata
            "ff00::/8",  # multicast
        ),
    )
)
"""Never connected to, whatever the operator allows."""

_NOT_PUBLIC = _FORBIDDEN + tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "2001::/23",  # protocol assignments, with Teredo
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether it is a public host's."""
    address = _unwrapped(address)
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def is_forbidden(address: Address) -> bool:
    """Whether it must not be connected to even where an operator allows a private host."""
    address = _unwrapped(address)
    return any(address in network for network in _FORBIDDEN)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where the network or the kernel translates it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
