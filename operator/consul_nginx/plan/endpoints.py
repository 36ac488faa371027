"""From Consul's instances to an upstream's endpoints; what Consul says is not to be trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from consul_nginx.model.addresses import is_routable
from consul_nginx.model.consul import Health, Instance
from consul_nginx.model.mapping import Endpoint

MAX_WEIGHT = 65535

_MAX_SHOWN = 40


class Unusable(NamedTuple):
    """Why an instance can't be served, and the words that find it in Consul."""

    reason: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Instances that can't be served for one reason; ``first`` describes one, for people."""

    reason: str
    count: int
    first: str


@dataclass(frozen=True, kw_only=True)
class EndpointSelection:
    """Endpoints to serve, how many instances Consul knows, and those that can't be served.

    Weights are in proportion to each other, and may be above nginx's limit. ``healthy`` counts the
    instances that could be served by their health and address.
    """

    endpoints: tuple[Endpoint, ...]
    total: int
    healthy: int = 0
    dropped: tuple[Dropped, ...] = ()


def counted(dropped: Iterable[Unusable]) -> tuple[Dropped, ...]:
    """By reason, each described by its first instance."""
    words: dict[str, list[str]] = {}
    for item in dropped:
        words.setdefault(item.reason, []).append(item.words)
    return tuple(
        Dropped(reason=reason, count=len(found), first=found[0])
        for reason, found in sorted(words.items())
    )


def endpoint_of(instance: Instance) -> Endpoint | Unusable:
    """What to serve of an instance. One that can't be used never blocks the others."""
    if instance.health is Health.MALFORMED:
        return Unusable("Malformed", _who(instance))
    address, reason = _usable_address(instance.address)
    if address is None:
        return Unusable(reason, f"address {_shown(instance.address)} of {_who(instance)}")
    if not 1 <= instance.port <= 65535:
        return Unusable("PortOutOfRange", f"port {_shown(str(instance.port))} of {_who(instance)}")
    weight = min(max(instance.weight, 1), MAX_WEIGHT)
    return Endpoint(address=address, port=instance.port, weight=weight)


def _who(instance: Instance) -> str:
    return f"{_shown(instance.id)} on node {_shown(instance.node)}"


def _shown(text: str) -> str:
    """Text of a stranger's for people's eyes: short, and without anything that is not ASCII."""
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


@lru_cache(maxsize=65_536)
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
