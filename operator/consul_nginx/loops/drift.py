"""Looks at whether Consul still holds what was written, and has what differs compared.

One blocking query tells of all our readiness checks. An agent that lost its state, a Consul that
was restored from an old copy, a registration that somebody removed by hand: each shows there within
seconds. What the checks don't show, an edited tag or address, is found by the full comparison.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from consul_nginx.backoff import Backoff
from consul_nginx.consul.errors import ConsulError
from consul_nginx.rate import TokenBucket
from consul_nginx.registrar.outcome import Settled

_log = logging.getLogger(__name__)

LOOKS_PER_S = 1.0
LOOKS_AT_ONCE = 2
LONGEST_RETRY_S = 2.0
STANDBY_S = 1.0
# A write that is under way is seen by then.
SETTLE_S = 2.0
# What could not be removed, because its agent is away, may be by then.
TELL_AGAIN_S = 300.0

# How often Consul has an ID with a status; several nodes may have the same ID.
Present = Counter[tuple[str, str]]


class Witness(Protocol):
    """Tells what is there."""

    async def __call__(self, *, index: int) -> tuple[int, Present]:
        """Block until it moves on; returns the index to ask with next. Raises ``ConsulError``."""


def drifted(*, settled: Mapping[str, Settled], present: Present) -> frozenset[str]:
    """Nodes of which something is missing, or has another state than was written."""
    wanted = Counter(
        (identity, "passing" if registration.ready else "critical")
        for state in settled.values()
        for identity, registration in state.written.items()
    )
    missing = {identity for identity, _ in wanted - present}
    return frozenset(node for node, state in settled.items() if missing & state.written.keys())


def excess(*, settled: Mapping[str, Settled], present: Present) -> frozenset[str]:
    """IDs that Consul holds more often than they were written."""
    found = Counter(identity for identity, _ in present.elements())
    found.subtract(identity for state in settled.values() for identity in state.written)
    return frozenset(identity for identity, number in found.items() if number > 0)


class DriftWatch:
    """``compare`` is called with a node that drifted, ``unknown`` when something of ours is there
    that nobody here knows of, although every node is ``compared``.

    ``recovered`` is called when Consul answers after it did not.
    """

    def __init__(
        self,
        *,
        witness: Witness,
        leading: Callable[[], bool],
        settled: Callable[[], Mapping[str, Settled]],
        compared: Callable[[], bool],
        compare: Callable[[str], None],
        unknown: Callable[[], None],
        recovered: Callable[[], None],
    ) -> None:
        self._witness = witness
        self._leading = leading
        self._settled = settled
        self._compared = compared
        self._compare = compare
        self._unknown = unknown
        self._recovered = recovered
        self._suspected: frozenset[str] = frozenset()
        self._told: dict[str, float] = {}

    async def run(self) -> None:
        """Never returns; a Consul that does not answer is asked again."""
        index, failing = 0, False
        backoff = Backoff(first=0.2, last=LONGEST_RETRY_S)
        rate = TokenBucket(per_second=LOOKS_PER_S, burst=LOOKS_AT_ONCE)
        while True:
            if not self._leading():
                index = 0
                self._told.clear()
                await asyncio.sleep(STANDBY_S)
                continue
            try:
                following, present = await self._witness(index=index)
            except ConsulError as error:
                if not failing:
                    _log.warning("it can't be seen what Consul holds of ours: %s", error)
                index, failing = 0, True
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            if failing:
                failing = False
                self._recovered()
            again = self._look(present)
            index = 0 if again else following
            await asyncio.sleep(max(rate.take(), SETTLE_S if again else 0.0))

    def _look(self, present: Present) -> bool:
        """Returns whether to look again soon: a write of ours may only just have been made."""
        settled = self._settled()
        for node in drifted(settled=settled, present=present):
            self._compare(node)
        found = excess(settled=settled, present=present)
        if not self._compared():
            return bool(found)
        now = time.monotonic()
        self._told = {
            identity: at
            for identity, at in self._told.items()
            if identity in found and now - at < TELL_AGAIN_S
        }
        persistent = self._suspected & found - self._told.keys()
        self._suspected = found - persistent
        if persistent:
            self._told |= dict.fromkeys(persistent, now)
            self._unknown()
        return bool(found - self._told.keys())
