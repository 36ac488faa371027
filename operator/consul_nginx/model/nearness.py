"""The order of instances by their distance, without the noise of its measurement. Pure.

Consul sorts by round-trip times that it estimates anew every few seconds, and does not wake who
waits for an answer when that changes the order. Whoever is a bit nearer today and a bit farther
tomorrow must not cost a reload. But a node that has just come has no coordinates for a while, and
poor ones for a while longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consul_nginx.model.consul import Identity, Instance

# Consul is asked once a minute (``consul/client.py``), and may answer with the order of the last.
SETTLING_S = 600.0

Places = Mapping[Identity, float]


def placed(*, before: Places, now: Iterable[Instance], at: float) -> Places:
    """Order of the instances of an answer, ``at`` seconds since the epoch: the nearest first.

    Each has the time since when it has been there. Those that have been for ``SETTLING_S`` keep
    their order among each other, as long as they are registered. Any other comes behind the one of
    them that is before it in the answer.
    """
    answered = dict.fromkeys(instance.identity for instance in now)
    settled = [one for one, since in before.items() if one in answered and _settled(since, at)]
    behind: dict[Identity | None, list[Identity]] = {one: [] for one in (None, *settled)}
    last: Identity | None = None
    for identity in answered:
        if identity in behind:
            last = identity
        else:
            behind[last].append(identity)
    order = [*behind[None], *(one for item in settled for one in (item, *behind[item]))]
    return {identity: before.get(identity, at) for identity in order}


def in_order(instances: Iterable[Instance], places: Places) -> tuple[Instance, ...]:
    """Instances in the order of their places."""
    rank = {identity: number for number, identity in enumerate(places)}
    return tuple(sorted(instances, key=lambda instance: rank[instance.identity]))


def _settled(since: float, at: float) -> bool:
    return at - since >= SETTLING_S
