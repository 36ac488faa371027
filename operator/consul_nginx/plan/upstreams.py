"""From the endpoints of several services to one upstream, and its name. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from consul_nginx.model.consul import UNKNOWN, Observation, Snapshot
from consul_nginx.model.mapping import Algorithm, BackendGroup, Endpoint
from consul_nginx.model.nginx import Layer, Upstream
from consul_nginx.model.remembered import by_identity
from consul_nginx.plan.endpoints import MAX_WEIGHT, EndpointSelection
from consul_nginx.plan.health import Decision, decide
from consul_nginx.plan.survey import NONE_GONE, GonePods

# A worker makes and sorts 160 points for each unit of weight of a consistent hash, before the first
# answer after each reload: for 500 that takes 50 ms, for 200,000 it took 17 s and 500 MB.
MAX_HASHED_WEIGHT = 500

Selections = tuple[EndpointSelection | None, ...]


def decide_group(
    *, group: BackendGroup, snapshot: Snapshot, gone: GonePods, now: float
) -> Decision:
    """Decide for a group; ``now`` in seconds since the epoch.

    The same object again while the group and what is observed are the same ones, until the time
    from which on it would be another.
    """
    observations = [snapshot.get(backend.query, UNKNOWN) for backend in group.backends]
    latest = _decided(group)
    if latest.made is None or not latest.holds(observations=observations, gone=gone, now=now):
        latest.made = decide(
            policy=group.policy,
            observations=observations,
            weights=[backend.weight for backend in group.backends],
            nearest={
                position: backend.nearest
                for position, backend in enumerate(group.backends)
                if backend.nearest
            },
            gone=gone,
            now=now,
        )
        latest.observations, latest.gone, latest.at = observations, gone, now
    return latest.made


@dataclass
class _Decided:
    """What was decided last of a group, on what grounds, and when."""

    observations: Sequence[Observation] = ()
    gone: GonePods = NONE_GONE
    at: float = 0.0
    made: Decision | None = None

    def holds(self, *, observations: Sequence[Observation], gone: GonePods, now: float) -> bool:
        """Whether it would be decided so again."""
        again = self.made.again if self.made is not None else None
        return (
            self.at <= now < (math.inf if again is None else again)
            and all(map(operator.is_, observations, self.observations))
            and gone == self.gone
        )


@by_identity
def _decided(_: BackendGroup) -> _Decided:
    return _Decided()


@lru_cache(maxsize=16_384)
def upstream_id(group: BackendGroup, layer: Layer = Layer.HTTP) -> str:
    """Name of a group's upstream: no text of a user's ever becomes a name in nginx.

    The Consul that is asked does not count: all of a LoadBalancer's mappings ask the same.
    """
    identity = json.dumps([layer, _said(group)], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _said(value: Any) -> Any:
    """Fields that differ from their defaults: one more field gives no upstream another name."""
    if isinstance(value, tuple):
        return [_said(item) for item in value]
    if not is_dataclass(value):
        return value
    return {
        field.name: _said(getattr(value, field.name))
        for field in fields(value)
        if field.name != "source" and getattr(value, field.name) != field.default
    }


def upstream(*, group: BackendGroup, layer: Layer, selections: Selections) -> Upstream:
    """The upstream of a group; its endpoints are unknown while those of any backend are.

    ``selections`` are in the order of the group's backends. The same object again while the group
    and what is selected for it are the same ones.
    """
    latest = _latest(group).setdefault(layer, _Latest())
    if latest.made is None or not all(map(operator.is_, selections, latest.selections)):
        latest.selections = selections
        latest.made = _made(group=group, layer=layer, selections=selections)
    return latest.made


@dataclass
class _Latest:
    """What an upstream was made of last, and what came out."""

    selections: Selections = ()
    made: Upstream | None = None


@by_identity
def _latest(_: BackendGroup) -> dict[Layer, _Latest]:
    return {}


def _made(*, group: BackendGroup, layer: Layer, selections: Selections) -> Upstream:
    found = endpoints(group=group, selections=selections)
    if found and group.balancing.algorithm is Algorithm.CONSISTENT_HASH:
        found = _lighter(found)
    return Upstream(
        id=upstream_id(group, layer),
        layer=layer,
        endpoints=found,
        fallback=group.fallback,
        encrypted=group.protocol.is_tls,
        balancing=group.balancing,
        health=group.health,
    )


def endpoints(*, group: BackendGroup, selections: Selections) -> tuple[Endpoint, ...] | None:
    """What a group serves, sorted; None when a backend that is to have requests is unknown.

    An instance that several backends have counts for each of them. Without an instance, the
    fallback is served.
    """
    sharing = [
        (backend, selection)
        for backend, selection in zip(group.backends, selections, strict=True)
        if backend.weight
    ]
    shares: dict[tuple[str, int], Fraction] = {}
    for backend, selection in sharing:
        if selection is None:
            return None
        if len(sharing) == 1 and not any(item.weight > MAX_WEIGHT for item in selection.endpoints):
            return selection.endpoints or group.fallback
        total = sum(item.weight for item in selection.endpoints)
        for item in selection.endpoints:
            place = item.address, item.port
            share = Fraction(backend.weight * item.weight, total)
            shares[place] = shares.get(place, Fraction()) + share
    return _weighted(shares) if shares else group.fallback


def _lighter(found: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The same proportions, rounded, with weights of ``MAX_HASHED_WEIGHT`` in all."""
    total = sum(item.weight for item in found)
    if total <= MAX_HASHED_WEIGHT:
        return found
    return tuple(
        replace(item, weight=max(item.weight * MAX_HASHED_WEIGHT // total, 1)) for item in found
    )


def _weighted(shares: Mapping[tuple[str, int], Fraction]) -> tuple[Endpoint, ...]:
    """Endpoints with the smallest whole numbers in the proportions of ``shares``.

    nginx's weights go up to 65535: where that is not enough, they are rounded, none to nothing.
    """
    common = 1
    for share in shares.values():
        common = common * share.denominator // math.gcd(common, share.denominator)
    numbers = {place: int(share * common) for place, share in shares.items()}
    divisor = math.gcd(*numbers.values())
    largest = max(numbers.values())
    scale = max(Fraction(divisor), Fraction(largest, MAX_WEIGHT))
    return tuple(
        sorted(
            Endpoint(address=address, port=port, weight=max(round(number / scale), 1))
            for (address, port), number in numbers.items()
        )
    )


def merged(selections: Selections) -> EndpointSelection | None:
    """What is told of a group's instances as a whole; None while Consul has not answered."""
    known = [item for item in selections if item is not None]
    if len(known) < len(selections):
        return None
    if len(known) == 1:
        return known[0]
    return EndpointSelection(
        endpoints=tuple(sorted({endpoint for item in known for endpoint in item.endpoints})),
        total=sum(item.total for item in known),
        healthy=sum(item.healthy for item in known),
        dropped=tuple(dropped for item in known for dropped in item.dropped),
    )
