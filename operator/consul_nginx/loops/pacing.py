"""When a node is compared because of its Pods: at once, or with what else changes on it soon.

A comparison reads everything of a node. Where a hundred Pods come together it must not be made for
each of their events, and a lone Pod must not wait for others that may never come.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.recent import keep
from consul_nginx.rate import TokenBucket

# A Pod that comes has three events: it has a node, it has an address, it is ready.
AT_ONCE = 3
PER_SECOND = 4.0
_REMEMBERED = 4096


class Pacer:
    """Puts nodes into the queue; each is there within 1 / ``PER_SECOND`` seconds."""

    def __init__(
        self, *, queue: WorkQueue[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def changed(self, node: str) -> None:
        """Something about a Pod of ``node`` is new."""
        bucket = self._buckets.get(node) or TokenBucket(
            per_second=PER_SECOND, burst=AT_ONCE, clock=self._clock
        )
        keep(self._buckets, node, bucket, at_most=_REMEMBERED)
        if bucket.try_take():
            self._queue.add(node)
        else:
            self._queue.add_after(node, delay=1 / PER_SECOND)
