"""What has to be remembered of services whose instances Consul does not tell at present. Pure.

An operator that starts while Consul is away would not know which Pods the endpoints of nginx are,
and one that starts while all are critical not who was healthy before. It is written when that
begins and when it ends, not with every instance that comes or goes meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consul_nginx.kube.state import query_key
from consul_nginx.model.consul import Health, Observation, ServiceQuery
from consul_nginx.model.history import Recollection, recalled

# A Consul that elects a leader is away for less.
FAILING_S = 5.0
# Of about 80 bytes each when they are compressed, in a ConfigMap of one MiB that holds more.
MAX_INSTANCES = 5_000


@dataclass(frozen=True, kw_only=True)
class Holding:
    """``held`` by ``query_key``; ``again`` is when more has to be, in seconds since the epoch."""

    held: Mapping[str, Recollection]
    again: float | None


def hold(
    *,
    observations: Mapping[ServiceQuery, Observation],
    kept: Collection[ServiceQuery],
    before: Mapping[str, Recollection],
    now: float,
) -> Holding:
    """Hold what is failing for a while, and what is ``kept``: served although it is not healthy.

    ``before`` is what was held until now, and stays as it is.
    """
    held: dict[str, Recollection] = {}
    again: list[float] = []
    room = MAX_INSTANCES
    ailing = (
        query for query, item in observations.items() if item.error is not None or query in kept
    )
    for query in sorted(ailing):
        observation, key = observations[query], query_key(query)
        known = before.get(key)
        if known is None:
            due = (observation.failing_since or now) + FAILING_S
            if query not in kept and now < due:
                again.append(due)
                continue
            known = _recollect(observation, now=now)
        if known is not None and len(known.instances) <= room:
            room -= len(known.instances)
            held[key] = known
    return Holding(held=held, again=min(again, default=None))


def with_held(
    observations: Mapping[ServiceQuery, Observation], held: Mapping[str, Recollection]
) -> Mapping[ServiceQuery, Observation]:
    """Observations as if this process had run on since they were held."""
    if not held:
        return observations
    return {
        query: observation
        if (item := held.get(query_key(query))) is None
        else recalled(observation, item)
        for query, observation in observations.items()
    }


def _recollect(observation: Observation, *, now: float) -> Recollection | None:
    """None for what was never answered, and of which nothing is known."""
    if observation.instances is None:
        return None
    return Recollection(
        at=now,
        instances=tuple(
            item for item in observation.instances if item.health is not Health.MALFORMED
        ),
        history=observation.history,
        nearest_first=observation.nearest_first,
    )
