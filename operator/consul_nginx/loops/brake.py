"""A brake on removing many registrations for Pods that nobody saw end.

A list that lacks a Pod is weak evidence: an API server restored from an old copy, or a right that
was taken away, would take every instance out of Consul at once. A few may go; more than that must
be missing from a second list, taken a while after they were first missed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FREE = 5
FREE_SHARE = 0.2
CONFIRM_S = 10.0
# What went counts for so long: one node after the other, five at a time could be all of them.
REMEMBER_S = 300.0


@dataclass(frozen=True, kw_only=True)
class _Missed:
    """``at``: when first; ``last``: when Consul still held something of it."""

    namespace: str
    at: float
    lists: int
    last: float


class Brake:
    """``lists`` is asked for the number of complete lists of a namespace so far."""

    def __init__(
        self, *, lists: Callable[[str], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lists = lists
        self._clock = clock
        self._missed: dict[str, _Missed] = {}
        self._held: dict[str, int] = {}

    def missing(self, *, node: str, pods: Mapping[str, str], held: int) -> None:
        """Namespaces of Pods, by UID, that Consul holds registrations of, ``held`` in all on the
        node, and that are gone.
        """
        now = self._clock()
        self._held[node] = held
        for uid, namespace in pods.items():
            new = _Missed(namespace=namespace, at=now, lists=self._lists(namespace), last=now)
            self._missed[uid] = dataclasses.replace(self._missed.get(uid, new), last=now)
        self._missed = {
            uid: missed for uid, missed in self._missed.items() if now - missed.last < REMEMBER_S
        }

    def seen(self, uid: str) -> None:
        """A Pod came, or was seen to end, or was there until a list lacked it: whatever lacked it
        before is no evidence any more.
        """
        self._missed.pop(uid, None)

    def forget(self, node: str) -> None:
        """Consul holds nothing of a node any more: it is no part of what a share is taken of."""
        self._held.pop(node, None)

    def holds(self, uid: str) -> bool:
        """Whether the registrations of a missing Pod must stay for now."""
        if len(self._missed) <= max(FREE, FREE_SHARE * sum(self._held.values())):
            return False
        missed = self._missed[uid]
        is_listed_again = self._lists(missed.namespace) > missed.lists
        return not (is_listed_again and self._clock() - missed.at >= CONFIRM_S)
