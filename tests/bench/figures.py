"""What was measured, as values, and the figures that follow from it. Pure.

Times are seconds; those of a sample count from just before the change was sent to Consul.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One change, as clients saw it.

    ``at`` is the moment from which its times count, since the epoch. ``written``: Consul has
    confirmed the change. ``first_new``: the first answer by the new instance. ``last_old``: the
    last answer by the old one on a fresh HTTP connection, ``last_old_tcp`` on a fresh TCP
    connection, ``last_old_idle`` on kept connections that were idle; None where none was seen.
    """

    at: float
    kind: str
    written: float
    first_new: float
    last_old: float
    last_old_tcp: float | None = None
    last_old_idle: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """``at`` is since the epoch."""

    at: float
    reason: str


@dataclass(kw_only=True)
class Measured:
    """Everything about one product; ``sessions`` are the times at which TCP sessions were cut."""

    samples: list[Sample] = field(default_factory=list)
    sessions: list[float] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of times, in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


def distribution(seconds: Iterable[float | None]) -> Distribution | None:
    """Of those that are not None; None without a single one."""
    ordered = sorted(value * 1000 for value in seconds if value is not None)
    if not ordered:
        return None
    return Distribution(
        count=len(ordered),
        p50=round(percentile(ordered, 50), 1),
        p99=round(percentile(ordered, 99), 1),
        max=round(ordered[-1], 1),
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank: the smallest value that this many percent don't exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]
