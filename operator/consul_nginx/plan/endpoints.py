"""From Consul's instances to an upstream's endpoints; what Consul says is not to be trusted."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from consul_nginx.model.consul import Health, Instance
from consul_nginx.model.nginx import Endpoint

MAX_WEIGHT = 65535


@dataclass(frozen=True, kw_only=True)
class EndpointSelection:
    """Endpoints to serve, and how many instances were healthy, known, and dropped by reason."""

    endpoints: tuple[Endpoint, ...]
    total: int
    dropped: tuple[tuple[str, int], ...] = ()


def select_endpoints(instances: Iterable[Instance]) -> EndpointSelection:
    """Keep passing instances with a usable address; sorted, each address and port once.

    An instance that can't be used is dropped and counted by reason, it never blocks the others.
    """
    endpoints: dict[tuple[str, int], Endpoint] = {}
    dropped: Counter[str] = Counter()
    total = 0
    for instance in sorted(instances):
        total += 1
        if instance.health is not Health.PASSING:
            continue
        address, reason = _usable_address(instance.address)
        if address is None:
            dropped[reason] += 1
        elif not 1 <= instance.port <= 65535:
            dropped["PortOutOfRange"] += 1
        else:
            weight = min(max(instance.weight, 1), MAX_WEIGHT)
            endpoint = Endpoint(address=address, port=instance.port, weight=weight)
            endpoints.setdefault((address, instance.port), endpoint)
    return EndpointSelection(
        endpoints=tuple(sorted(endpoints.values())),
        total=total,
        dropped=tuple(sorted(dropped.items())),
    )


def _usable_address(text: str) -> tuple[str | None, str]:
    """Canonical IP literal, or None and the reason against it.

    Host names are refused: one that does not resolve stops nginx from loading at all. Scope ids
    are refused because ``ipaddress`` accepts any text in them.
    """
    if "%" in text:
        return None, "AddressWithScope"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None, "NotAnIPAddress"
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return None, "AddressNotRoutable"
    if address.is_link_local or address.is_reserved:
        return None, "AddressNotRoutable"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return None, "AddressNotRoutable"
    return str(address), ""
