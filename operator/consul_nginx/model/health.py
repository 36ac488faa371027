"""Which instances get requests, as far as their health is concerned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class HealthPolicy:
    """What counts as healthy, and what becomes of a group with too few healthy instances.

    ``warning``: it counts as healthy. Fewer than ``min_healthy`` are as good as none. The group
    then goes on with those that were healthy at most ``keep`` seconds ago, if these are enough
    (``keep_few``: or too few). Whoever returned is left out for ``hold_down`` seconds. An emptiness
    that Consul can't confirm is believed after ``doubt`` seconds.
    """

    warning: bool = False
    min_healthy: int = 1
    keep: float = 0.0
    keep_few: bool = False
    hold_down: float = 0.0
    slow_start: float = 0.0
    doubt: float = 600.0


DEFAULT_POLICY = HealthPolicy()
