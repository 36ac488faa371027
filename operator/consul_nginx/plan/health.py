"""Which instances of a group of backends get requests now, and until when that is so. Pure.

What Consul says is believed, and what it does not say is not: while it gives no answer, what it
said last holds. Only Kubernetes may take from that: it knows at once when a Pod is gone, and
another Pod may have its address a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

from consul_nginx.model.consul import Health, Observation, Spell
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.history import is_bearable, is_passing, spell
from consul_nginx.model.nginx import Endpoint
from consul_nginx.plan.endpoints import endpoint_of

RAMP_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class GonePods:
    """UIDs of Pods of this cluster: ``ended`` were seen to end, ``missing`` are in no list.

    A list that lacks a Pod is the weaker evidence: it decides on nobody whom Consul calls healthy.
    """

    ended: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


NONE_GONE = GonePods()


class Outcome(Enum):
    """What a group is served by; ``UNKNOWN``: nobody can tell yet, nginx keeps what it has."""

    HEALTHY = auto()
    KEPT = auto()
    TOO_FEW = auto()
    EMPTY = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, kw_only=True)
class Served:
    """One instance that gets requests, ``step`` of ``RAMP_STEPS`` parts of its share."""

    endpoint: Endpoint
    step: int = RAMP_STEPS


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who is served, by backend in the order of the observations.

    ``healthy`` counts the healthy ones, ``kept`` those that are served although they are not,
    ``resting`` those that are healthy and must first stay so. ``until`` is when those kept are
    served no longer, ``again`` when to decide anew though nothing changed; both in seconds since
    the epoch.
    """

    outcome: Outcome
    served: tuple[tuple[Served, ...], ...] = ()
    healthy: int = 0
    kept: int = 0
    resting: int = 0
    until: float | None = None
    again: float | None = None


class _Candidate(NamedTuple):
    """An instance that could be served; ``spell`` is the latest one of its being healthy."""

    backend: int
    endpoint: Endpoint
    is_healthy: bool
    spell: Spell | None


def decide(
    *,
    policy: HealthPolicy,
    observations: Sequence[Observation],
    gone: GonePods = NONE_GONE,
    now: float,
) -> Decision:
    """Decide for a group whose backends are observed so; ``now`` in seconds since the epoch."""
    if any(observation.instances is None for observation in observations):
        return Decision(outcome=Outcome.UNKNOWN)
    believed = [_believed(item, policy=policy, now=now) for item in observations]
    candidates = [
        candidate
        for backend, observation in enumerate(believed)
        for candidate in _candidates(observation, backend=backend, policy=policy, gone=gone)
    ]
    decision = _decide(candidates, backends=len(observations), policy=policy, now=now)
    ends = [item.doubt.since + policy.doubt for item in believed if item.doubt is not None]
    return replace(decision, again=_earliest([decision.again, *ends]))


def _believed(observation: Observation, *, policy: HealthPolicy, now: float) -> Observation:
    """What was answered in doubt for long enough is true."""
    doubt = observation.doubt
    if doubt is None or now < doubt.since + policy.doubt:
        return observation
    return replace(observation, instances=doubt.instances, history=doubt.history, doubt=None)


def _candidates(
    observation: Observation, *, backend: int, policy: HealthPolicy, gone: GonePods
) -> Iterator[_Candidate]:
    counts = is_bearable if policy.warning else is_passing
    for instance in observation.instances or ():
        if instance.health in (Health.MAINTENANCE, Health.MALFORMED):
            continue
        is_healthy = counts(instance.health)
        if instance.pod.uid in gone.ended:
            continue
        if instance.pod.uid in gone.missing and not (is_healthy and observation.error is None):
            continue
        endpoint = endpoint_of(instance)
        if isinstance(endpoint, Endpoint):
            yield _Candidate(
                backend=backend,
                endpoint=endpoint,
                is_healthy=is_healthy,
                spell=spell(
                    history=observation.history, instance=instance, bearable=policy.warning
                ),
            )


def _decide(
    candidates: Sequence[_Candidate], *, backends: int, policy: HealthPolicy, now: float
) -> Decision:
    healthy = [item for item in candidates if item.is_healthy]
    if len(healthy) >= policy.min_healthy:
        return _of_healthy(healthy, backends=backends, policy=policy, now=now)
    lately = sorted(
        (
            (item.spell.ended + policy.keep, item)
            for item in candidates
            if item.spell is not None
            and item.spell.ended is not None
            and now < item.spell.ended + policy.keep
        ),
        key=lambda kept: kept[0],
        reverse=True,
    )
    missing = 1 if policy.keep_few else policy.min_healthy - len(healthy)
    if len(lately) >= missing:
        return Decision(
            outcome=Outcome.KEPT,
            served=_by_backend([*healthy, *(item for _, item in lately)], backends=backends),
            healthy=len(healthy),
            kept=len(lately),
            until=lately[missing - 1][0],
            again=lately[-1][0],
        )
    if policy.keep_few and healthy:
        served = _by_backend(healthy, backends=backends)
        return Decision(outcome=Outcome.TOO_FEW, served=served, healthy=len(healthy))
    return Decision(outcome=Outcome.EMPTY, served=((),) * backends, healthy=len(healthy))


def _of_healthy(
    healthy: Sequence[_Candidate], *, backends: int, policy: HealthPolicy, now: float
) -> Decision:
    """Leave out who has to rest, unless too few are left; who came of late gets less."""
    resting = {item: end for item in healthy if now < (end := _rest(item.spell, policy=policy))}
    served = [item for item in healthy if item not in resting]
    if len(served) < policy.min_healthy:
        served, resting = list(healthy), {}
    steps = {item: _step(item.spell, policy=policy, now=now) for item in served}
    slowed = len(set(steps.values())) > 1
    return Decision(
        outcome=Outcome.HEALTHY,
        served=_by_backend(served, backends=backends, steps=steps if slowed else {}),
        healthy=len(healthy),
        resting=len(resting),
        again=_earliest(
            [
                *resting.values(),
                *(
                    _began(item.spell) + policy.slow_start * step / (RAMP_STEPS - 1)
                    for item, step in steps.items()
                    if slowed and step < RAMP_STEPS
                ),
            ]
        ),
    )


def _rest(spell: Spell | None, *, policy: HealthPolicy) -> float:
    """Until when an instance has to stay healthy before it is served."""
    return _began(spell) + policy.hold_down if spell is not None and spell.returned else 0.0


def _step(spell: Spell | None, *, policy: HealthPolicy, now: float) -> int:
    elapsed = now - _began(spell)
    if elapsed >= policy.slow_start:
        return RAMP_STEPS
    return 1 + int(max(elapsed, 0.0) * (RAMP_STEPS - 1) / policy.slow_start)


def _began(spell: Spell | None) -> float:
    return spell.began if spell is not None and spell.began is not None else 0.0


def _by_backend(
    served: Iterable[_Candidate],
    *,
    backends: int,
    steps: Mapping[_Candidate, int] = MappingProxyType({}),
) -> tuple[tuple[Served, ...], ...]:
    groups: list[list[Served]] = [[] for _ in range(backends)]
    for item in served:
        groups[item.backend].append(
            Served(endpoint=item.endpoint, step=steps.get(item, RAMP_STEPS))
        )
    return tuple(map(tuple, groups))


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)
