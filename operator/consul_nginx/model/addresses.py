"""Which IP addresses others can reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def is_routable(address: IPv4Address | IPv6Address) -> bool:
    """Whether it means the same host for everybody; private networks count as reachable."""
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    if address.is_link_local or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _THIS_NETWORK
    return address.ipv4_mapped is None
