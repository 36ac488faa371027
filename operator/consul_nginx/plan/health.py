"""Which instances of a group of backends get requests now, and until when that is so. Pure.

What Consul says is believed, and what it does not say is not: while it gives no answer, what it
said last holds. Only Kubernetes may take from that: it knows at once when a Pod is gone, and
another Pod may have its address a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import NamedTuple

from consul_nginx.model.consul import Observation
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.mapping import Endpoint
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.nearness import EVERYBODY, Nearest, nearest_of
from consul_nginx.plan.survey import NONE_GONE, Candidate, GonePods, survey

RAMP_STEPS = 4

_NOBODY = EndpointSelection(endpoints=(), total=0)


class Outcome(Enum):
    """What a group is served by; ``UNKNOWN``: nobody can tell yet, nginx keeps what it has.

    See ``is_unknown``.
    """

    HEALTHY = auto()
    KEPT = auto()
    TOO_FEW = auto()
    EMPTY = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who is served, by backend in the order of the observations; None for one that is unknown.

    ``healthy`` counts the healthy ones, ``kept`` those that are served although they are not,
    ``resting`` those that are healthy and must first stay so. ``until`` is when those kept are
    served no longer, ``again`` when to decide anew though nothing changed; both in seconds since
    the epoch.
    """

    outcome: Outcome
    selections: tuple[EndpointSelection | None, ...]
    healthy: int = 0
    kept: int = 0
    resting: int = 0
    until: float | None = None
    again: float | None = None


class _Choice(NamedTuple):
    """Who is served, each with its step of ``RAMP_STEPS``, and what is to be told of it."""

    decision: Decision
    served: Sequence[tuple[Candidate, int]]


def decide(
    *,
    policy: HealthPolicy,
    observations: Sequence[Observation],
    weights: Sequence[int],
    nearest: Nearest = EVERYBODY,
    gone: GonePods = NONE_GONE,
    now: float,
) -> Decision:
    """Decide for a group whose backends are observed so; ``now`` in seconds since the epoch.

    A backend with the weight 0 is to have no requests, and counts for nothing. ``nearest``: of
    these backends so many healthy instances, where Consul knows which are nearest.
    """
    believed = [_believed(item, policy=policy, now=now) for item in observations]
    surveys = [
        survey(item, backend=backend, warning=policy.warning, gone=gone)
        for backend, item in enumerate(believed)
    ]
    unknown = is_unknown(observations=observations, weights=weights)
    if unknown:
        choice = _Choice(Decision(outcome=Outcome.UNKNOWN, selections=()), ())
    else:
        sharing = [found for found, weight in zip(surveys, weights, strict=True) if weight]
        candidates = [one for found in sharing if found for one in found.candidates]
        known = {
            backend: count for backend, count in nearest.items() if believed[backend].nearest_first
        }
        choice = _choose(candidates, policy=policy, nearest=known, now=now)
    served: dict[int, dict[tuple[str, int], Endpoint]] = {}
    for candidate, step in sorted(choice.served, key=lambda item: item[0].place):
        endpoint = candidate.endpoint
        served.setdefault(candidate.backend, {}).setdefault(
            (endpoint.address, endpoint.port),
            endpoint if step == 1 else replace(endpoint, weight=endpoint.weight * step),
        )
    ends = [item.doubt.since + policy.doubt for item in believed if item.doubt is not None]
    return replace(
        choice.decision,
        selections=tuple(
            found.selection(tuple(served.get(backend, {}).values()))
            if found is not None
            else _NOBODY
            if item.refused and not unknown
            else None
            for backend, (found, item) in enumerate(zip(surveys, believed, strict=True))
        ),
        again=_earliest([choice.decision.again, *ends]),
    )


def is_unknown(*, observations: Sequence[Observation], weights: Sequence[int]) -> bool:
    """Whether nobody can tell yet whom a group is served by.

    A backend for which Consul is silent may have any instances. One that Consul refuses to tell of
    has none for now, if there are others: a group of nothing else may have been answered before
    this process began, with a token that was right then.
    """
    sharing = [item for item, weight in zip(observations, weights, strict=True) if weight]
    never = [item for item in sharing if item.instances is None]
    return any(not item.refused for item in never) or 0 < len(never) == len(sharing)


def _believed(observation: Observation, *, policy: HealthPolicy, now: float) -> Observation:
    """What was answered in doubt for long enough is true."""
    doubt = observation.doubt
    if doubt is None or now < doubt.since + policy.doubt:
        return observation
    return replace(observation, instances=doubt.instances, history=doubt.history, doubt=None)


def _choose(
    candidates: Sequence[Candidate], *, policy: HealthPolicy, nearest: Nearest, now: float
) -> _Choice:
    healthy = [item for item in candidates if item.is_healthy]
    if len(healthy) >= policy.min_healthy:
        return _among_healthy(healthy, policy=policy, nearest=nearest, now=now)
    lately = sorted(
        (
            (end, item)
            for item in candidates
            if (end := _kept_until(item, policy=policy)) is not None and now < end
        ),
        key=lambda kept: kept[0],
        reverse=True,
    )
    missing = 1 if policy.keep_few else policy.min_healthy - len(healthy)
    if len(lately) >= missing:
        decision = Decision(
            outcome=Outcome.KEPT,
            selections=(),
            healthy=len(healthy),
            kept=len(lately),
            until=lately[missing - 1][0],
            again=lately[-1][0],
        )
        return _Choice(decision, [(item, 1) for item in (*healthy, *(one for _, one in lately))])
    few = healthy if policy.keep_few else []
    outcome = Outcome.TOO_FEW if few else Outcome.EMPTY
    decision = Decision(outcome=outcome, selections=(), healthy=len(healthy))
    return _Choice(decision, [(item, 1) for item in few])


def _kept_until(candidate: Candidate, *, policy: HealthPolicy) -> float | None:
    """Until when an instance that is not healthy counts as if it were; None: it never was."""
    if candidate.is_healthy or candidate.spell is None or candidate.spell.ended is None:
        return None
    return candidate.spell.ended + policy.keep


def _among_healthy(
    healthy: Sequence[Candidate], *, policy: HealthPolicy, nearest: Nearest, now: float
) -> _Choice:
    """Leave out who has to rest, unless too few are left, and of the others who is too far.

    Who came of late gets less.
    """
    rests = [end for item in healthy if now < (end := _rests_until(item, policy=policy))]
    served = [item for item in healthy if now >= _rests_until(item, policy=policy)]
    ends = rests
    if len(served) < policy.min_healthy:
        served, rests = list(healthy), []
    served = nearest_of(served, nearest=nearest)
    steps = [_step(item, policy=policy, now=now) for item in served]
    # Who began together goes on together. Others may be on the same step now, and not for long.
    together = len({_began(item) for item in served}) == 1
    next_steps = [
        _began(item) + policy.slow_start * step / (RAMP_STEPS - 1)
        for item, step in zip(served, steps, strict=True)
        if step < RAMP_STEPS and not together
    ]
    if len(set(steps)) == 1:
        steps = [1] * len(steps)
    decision = Decision(
        outcome=Outcome.HEALTHY,
        selections=(),
        healthy=len(healthy),
        resting=len(rests),
        again=_earliest([*ends, *next_steps]),
    )
    return _Choice(decision, list(zip(served, steps, strict=True)))


def _rests_until(candidate: Candidate, *, policy: HealthPolicy) -> float:
    """Until when an instance has to stay healthy before it is served."""
    returned = candidate.spell is not None and candidate.spell.returned
    return _began(candidate) + policy.hold_down if returned else 0.0


def _step(candidate: Candidate, *, policy: HealthPolicy, now: float) -> int:
    # A clock that was set back must not make anybody begin in the future.
    elapsed = max(now - _began(candidate), 0.0)
    if elapsed >= policy.slow_start:
        return RAMP_STEPS
    return 1 + int(elapsed * (RAMP_STEPS - 1) / policy.slow_start)


def _began(candidate: Candidate) -> float:
    spell = candidate.spell
    return spell.began if spell is not None and spell.began is not None else 0.0


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)
