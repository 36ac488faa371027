"""A brake on removing many registrations for Pods that nobody saw end.

A list that lacks a Pod is weak evidence: an API server restored from an old copy, or a right that
was taken away, would take every instance out of Consul at once. A few may go; more than that must
be missing from a second list, taken a while after they were first missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

FREE = 5
FREE_SHARE = 0.2
CONFIRM_S = 10.0


@dataclass(frozen=True, kw_only=True)
class _Missed:
    at: float
    lists: int


class Brake:
    """``lists`` is asked for the number of complete lists so far."""

    def __init__(
        self, *, lists: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lists = lists
        self._clock = clock
        self._missed: dict[str, _Missed] = {}
        self._of: dict[str, frozenset[str]] = {}
        self._held: dict[str, int] = {}

    def missing(self, *, node: str, uids: Iterable[str], held: int) -> None:
        """Pods of a node that Consul holds registrations of, ``held`` in all, and that are gone."""
        self._of[node], self._held[node] = frozenset(uids), held
        now = _Missed(at=self._clock(), lists=self._lists())
        everywhere = frozenset().union(*self._of.values())
        self._missed = {uid: self._missed.get(uid, now) for uid in everywhere}

    def holds(self, uid: str) -> bool:
        """Whether the registrations of a missing Pod must stay for now."""
        if len(self._missed) <= max(FREE, FREE_SHARE * sum(self._held.values())):
            return False
        missed = self._missed[uid]
        confirmed = self._lists() > missed.lists and self._clock() - missed.at >= CONFIRM_S
        return not confirmed
