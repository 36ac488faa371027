"""A keyed work queue with client-go's semantics.

A key that waits is not queued twice; a key that is being worked on and added again is worked on
once more afterwards, never by two workers at a time; failures back off per key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from consul_nginx.backoff import Backoff
from consul_nginx.loops.queue_metrics import QueueMetrics

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 30.0


class WorkQueue(Generic[Key]):
    """Keys to be worked on; all methods belong to one event loop.

    ``name`` is the queue's in metrics, ``longest_backoff`` the most seconds between two attempts.
    """

    def __init__(
        self,
        *,
        name: str,
        longest_backoff: float = LONGEST_BACKOFF_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_backoff = longest_backoff
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._dirty: set[Key] = set()
        self._working: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._metrics: QueueMetrics[Key] = QueueMetrics(
            name=name, depth=lambda: self.depth, clock=clock
        )

    @property
    def depth(self) -> int:
        """Keys that wait now; not those with a delay."""
        return self._ready.qsize()

    def add(self, key: Key) -> None:
        """Have ``key`` worked on as soon as possible."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        self._metrics.added(key)
        if key not in self._working:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, *, delay: float) -> None:
        """Have ``key`` worked on in ``delay`` seconds at the latest."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if key in self._dirty or (timer is not None and timer.when() <= loop.time() + delay):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay, self.add, key)

    def schedule(self, key: Key, *, delay: float) -> None:
        """Have ``key`` worked on in ``delay`` seconds, whatever was planned for later or sooner."""
        if delay <= 0:
            self.add(key)
            return
        if key not in self._dirty:
            self._cancel_timer(key)
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self.add, key)

    async def get(self) -> Key:
        """Next key; ``done``, ``retry`` or ``forget`` must follow."""
        key = await self._ready.get()
        self._dirty.discard(key)
        self._working.add(key)
        self._metrics.taken(key)
        return key

    def done(self, key: Key) -> None:
        """The work on ``key`` succeeded."""
        self._backoffs.pop(key, None)
        self._finish(key)

    def retry(self, key: Key) -> float:
        """The work on ``key`` failed: have it done again; returns the delay in seconds."""
        fresh = Backoff(first=FIRST_BACKOFF_S, last=self._longest_backoff)
        delay = self._backoffs.setdefault(key, fresh).next()
        self._finish(key)
        self._metrics.retried()
        self.add_after(key, delay=delay)
        return delay

    def close(self) -> None:
        """Cancel what was to come later."""
        for key in list(self._timers):
            self._cancel_timer(key)

    def _finish(self, key: Key) -> None:
        self._working.discard(key)
        self._metrics.finished(key)
        if key in self._dirty:
            self._ready.put_nowait(key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
