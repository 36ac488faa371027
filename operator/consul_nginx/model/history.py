"""Since when instances have been healthy, or how long ago they were. Pure.

Only those are told of that have not been healthy ever since they were first seen: an instance that
a history lacks has been, if it is healthy now, and never was, if it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from consul_nginx.model.consul import Health, History, Instance, Observation, Spell, Spells

_BEARABLE = (Health.PASSING, Health.WARNING)


def is_passing(health: Health) -> bool:
    """Whether all checks pass."""
    return health is Health.PASSING


def is_bearable(health: Health) -> bool:
    """Whether no check is critical."""
    return health in _BEARABLE


def advance(
    *, before: Iterable[Instance], history: History, now: Iterable[Instance], at: float
) -> History:
    """History once ``now`` is seen, ``at`` seconds since the epoch, after ``before``.

    What is registered no longer is forgotten: under the same name it would be a new instance.
    """
    known = {instance.identity: instance.health for instance in before}
    advanced = {}
    for instance in now:
        key = instance.identity
        spells = history.get(key)
        if key not in known:
            spells = _new(health=instance.health, at=at)
        elif known[key] is not instance.health:
            spells = _changed(spells=spells, was=known[key], now=instance.health, at=at)
        if spells is not None:
            advanced[key] = spells
    return advanced


def spell(*, history: History, instance: Instance, bearable: bool) -> Spell | None:
    """The latest spell of an instance, None when it never was healthy.

    ``bearable``: warning counts as healthy.
    """
    spells = history.get(instance.identity)
    if spells is not None:
        return spells.bearable if bearable else spells.passing
    counts = is_bearable if bearable else is_passing
    return Spell() if counts(instance.health) else None


def _new(*, health: Health, at: float) -> Spells | None:
    if not is_bearable(health):
        return None
    began = Spell(began=at)
    return Spells(passing=began if is_passing(health) else None, bearable=began)


def _changed(*, spells: Spells | None, was: Health, now: Health, at: float) -> Spells | None:
    def spell_of(counts: Callable[[Health], bool], before: Spell | None) -> Spell | None:
        if counts(was) and not counts(now):
            before = before or Spell()
            return Spell(began=before.began, ended=at, returned=before.returned)
        if counts(now) and not counts(was):
            return Spell(began=at, returned=before is not None)
        return before

    def before(counts: Callable[[Health], bool], known: Spell | None) -> Spell | None:
        return Spell() if spells is None and counts(was) else known

    passing, bearable = (None, None) if spells is None else (spells.passing, spells.bearable)
    return Spells(
        passing=spell_of(is_passing, before(is_passing, passing)),
        bearable=spell_of(is_bearable, before(is_bearable, bearable)),
    )


@dataclass(frozen=True, kw_only=True)
class Recollection:
    """What an earlier process knew of a query, ``at`` seconds since the epoch."""

    at: float
    instances: tuple[Instance, ...]
    history: History
    nearest_first: bool = False


def recalled(observation: Observation, recollection: Recollection) -> Observation:
    """``observation`` as if this process had run on since the recollection.

    What has not been answered yet is as it was. What was healthy then, and was not when it was seen
    again, has been so until then for all that is known.
    """
    if observation.instances is None:
        return replace(
            observation,
            instances=recollection.instances,
            history=recollection.history,
            nearest_first=recollection.nearest_first,
            error=observation.error or "no answer yet since the operator started",
            failing_since=observation.failing_since or recollection.at,
        )
    then = advance(
        before=recollection.instances,
        history=recollection.history,
        now=(
            instance
            for instance in observation.instances
            if not is_passing(instance.health) and instance.identity not in observation.history
        ),
        at=recollection.at,
    )
    known = {instance.identity for instance in recollection.instances}
    found = {identity: spells for identity, spells in then.items() if identity in known}
    return replace(observation, history={**found, **observation.history}) if found else observation
