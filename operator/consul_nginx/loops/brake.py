"""A brake on removing many registrations, or endpoints, for Pods that nobody saw end.

A list that lacks a Pod is weak evidence: an API server restored from an old copy, or a right that
was taken away, would take every instance out of Consul at once. A few may go; more than that must
be missing from two lists more, a while apart. Lists from before they were missed do not count: the
Pods may be younger, and registered by another replica.
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
    """``last``: when Consul still held something of it; ``lacked``: when the first list since it
    was missed lacked it as well.
    """

    namespace: str
    last: float
    lacked: float | None = None
    is_confirmed: bool = False


class Brake:
    """Remembers what is missed, and by how many lists."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
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
            new = _Missed(namespace=namespace, last=now)
            self._missed[uid] = dataclasses.replace(self._missed.get(uid, new), last=now)
        self._missed = {
            uid: missed for uid, missed in self._missed.items() if now - missed.last < REMEMBER_S
        }

    @property
    def remembers(self) -> bool:
        """Whether anything is missed, or was of late."""
        now = self._clock()
        return any(now - missed.last < REMEMBER_S for missed in self._missed.values())

    def seen(self, uid: str) -> None:
        """A Pod came, or was seen to end, or was there until a list lacked it: whatever lacked it
        before is no evidence any more.
        """
        self._missed.pop(uid, None)

    def listed(self, namespace: str | None) -> None:
        """A list of a namespace, or (None) of all, is complete: ``seen`` was told what it has."""
        now = self._clock()
        for uid, missed in self._missed.items():
            if namespace not in (None, missed.namespace) or missed.is_confirmed:
                continue
            if missed.lacked is None:
                self._missed[uid] = dataclasses.replace(missed, lacked=now)
            elif now - missed.lacked >= CONFIRM_S:
                self._missed[uid] = dataclasses.replace(missed, is_confirmed=True)

    def forget(self, node: str) -> None:
        """Consul holds nothing of a node any more: it is no part of what a share is taken of."""
        self._held.pop(node, None)

    def holds(self, uid: str) -> bool:
        """Whether the registrations of a missing Pod must stay for now."""
        if len(self._missed) <= max(FREE, FREE_SHARE * sum(self._held.values())):
            return False
        return not self._missed[uid].is_confirmed
