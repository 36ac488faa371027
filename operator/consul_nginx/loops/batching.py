"""When a change goes out: the first at once, what follows in batches.

Each write of a bundle is a reload, and each reload leaves a generation of workers that drains. A
lone change must not wait for others that may never come; a hundred in a row must not be a hundred
reloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from consul_nginx.loops.queue import WorkQueue
from consul_nginx.model.kubernetes import Batching, ObjectRef

# etcd's default quota is 2 GB: a bundle of 1 MB that is written ten times a second would fill it
# between two compactions.
BYTES_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class History:
    """What batching depends on; times in seconds of one monotonic clock.

    ``pending_since`` is the first change that has not gone out yet, ``free_at`` the time at which
    the bytes written so far are within ``BYTES_PER_S``. ``going_out``: earlier changes are on their
    way, and nobody knows yet when, or whether, they are written.
    """

    written_at: float = float("-inf")
    free_at: float = float("-inf")
    pending_since: float | None = None
    going_out: bool = False


def due(*, history: History, batching: Batching, now: float) -> float:
    """When a change that comes ``now`` goes out."""
    earliest = max(history.written_at + batching.min_interval, history.free_at, now)
    if now - history.written_at >= batching.quiet_period:
        return earliest
    pending_since = now if history.pending_since is None else history.pending_since
    quiet = min(now + batching.quiet_period, pending_since + batching.max_delay)
    return max(quiet, earliest)


class Batcher:
    """Puts LoadBalancers into the queue when their changes are due."""

    def __init__(
        self,
        *,
        queue: WorkQueue[ObjectRef],
        settings: Callable[[ObjectRef], Batching],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._clock = clock or asyncio.get_running_loop().time
        self._histories: dict[ObjectRef, History] = {}

    def changed(self, ref: ObjectRef) -> None:
        """Something that ``ref`` depends on is new."""
        history = self._histories.get(ref, History())
        if history.pending_since is None:
            history = replace(history, pending_since=self._clock())
            self._histories[ref] = history
        if not history.going_out:
            self._schedule(ref, history)

    def began(self, ref: ObjectRef) -> None:
        """What is pending goes out now; ``ended`` must follow."""
        history = self._histories.get(ref, History())
        self._histories[ref] = replace(history, pending_since=None, going_out=True)

    def ended(self, ref: ObjectRef) -> None:
        """It went out or failed: what came meanwhile is due by what was written."""
        if (history := self._histories.get(ref)) is None:
            return
        self._histories[ref] = history = replace(history, going_out=False)
        if history.pending_since is not None:
            self._schedule(ref, history)

    def wrote(self, ref: ObjectRef, size: int) -> None:
        """A bundle of ``size`` bytes was written."""
        now, history = self._clock(), self._histories.get(ref, History())
        self._histories[ref] = replace(
            history, written_at=now, free_at=max(history.free_at, now) + size / BYTES_PER_S
        )

    def forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self._histories.pop(ref, None)

    def _schedule(self, ref: ObjectRef, history: History) -> None:
        now = self._clock()
        at = due(history=history, batching=self._settings(ref), now=now)
        self._queue.schedule(ref, delay=at - now)
