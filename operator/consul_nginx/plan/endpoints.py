"""From Consul's instances to an upstream's endpoints; what Consul says is not to be trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from consul_nginx.model.addresses import is_routable
from consul_nginx.model.consul import Health, Instance
from consul_nginx.model.mapping import Endpoint

MAX_WEIGHT = 65535

_MAX_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Instances that can't be served for one reason; ``first`` describes one, for people."""

    reason: str
    count: int
    first: str


@dataclass(frozen=True, kw_only=True)
class EndpointSelection:
    """Endpoints to serve, how many instances Consul knows, and those that can't be served."""

    endpoints: tuple[Endpoint, ...]
    total: int
    dropped: tuple[Dropped, ...] = ()


def select_endpoints(instances: Iterable[Instance]) -> EndpointSelection:
    """Keep passing instances with a usable address; sorted, each address and port once.

    An instance that can't be used is dropped and counted by reason, it never blocks the others.
    """
    endpoints: dict[tuple[str, int], Endpoint] = {}
    dropped: dict[str, list[str]] = {}
    total = 0
    for instance in sorted(instances):
        total += 1
        if instance.health not in (Health.PASSING, Health.MALFORMED):
            continue
        endpoint = endpoint_of(instance)
        if isinstance(endpoint, Endpoint):
            endpoints.setdefault((endpoint.address, endpoint.port), endpoint)
        else:
            reason, words = endpoint
            dropped.setdefault(reason, []).append(words)
    return EndpointSelection(
        endpoints=tuple(sorted(endpoints.values())),
        total=total,
        dropped=tuple(
            Dropped(reason=reason, count=len(words), first=words[0])
            for reason, words in sorted(dropped.items())
        ),
    )


def endpoint_of(instance: Instance) -> Endpoint | tuple[str, str]:
    """What to serve, or the reason not to and the words that find the instance in Consul."""
    who = f"{_shown(instance.id)} on node {_shown(instance.node)}"
    if instance.health is Health.MALFORMED:
        return "Malformed", who
    address, reason = _usable_address(instance.address)
    if address is None:
        return reason, f"address {_shown(instance.address)} of {who}"
    if not 1 <= instance.port <= 65535:
        return "PortOutOfRange", f"port {_shown(str(instance.port))} of {who}"
    weight = min(max(instance.weight, 1), MAX_WEIGHT)
    return Endpoint(address=address, port=instance.port, weight=weight)


def _shown(text: str) -> str:
    """Text of a stranger's for people's eyes: short, and without anything that is not ASCII."""
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


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
    return (str(address), "") if is_routable(address) else (None, "AddressNotRoutable")
