"""What a work queue tells Prometheus, as client-go's does."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from consul_nginx.metrics import (
    LONGEST_WORK_SECONDS,
    QUEUE_ADDS,
    QUEUE_DEPTH,
    QUEUE_RETRIES,
    QUEUE_SECONDS,
    UNFINISHED_WORK_SECONDS,
    WORK_SECONDS,
)

Key = TypeVar("Key", bound=Hashable)


class QueueMetrics(Generic[Key]):
    """Times and counts of the keys of the queue ``name``; ``depth`` is asked at each scrape."""

    def __init__(self, *, name: str, depth: Callable[[], int], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._added: dict[Key, float] = {}
        self._begun: dict[Key, float] = {}
        self._adds = QUEUE_ADDS.labels(name=name)
        self._retries = QUEUE_RETRIES.labels(name=name)
        self._waited = QUEUE_SECONDS.labels(name=name)
        self._worked = WORK_SECONDS.labels(name=name)
        QUEUE_DEPTH.labels(name=name).set_function(depth)
        UNFINISHED_WORK_SECONDS.labels(name=name).set_function(lambda: sum(self._running()))
        LONGEST_WORK_SECONDS.labels(name=name).set_function(
            lambda: max(self._running(), default=0.0)
        )

    def added(self, key: Key) -> None:
        """``key`` begins to wait."""
        self._adds.inc()
        self._added[key] = self._clock()

    def taken(self, key: Key) -> None:
        """The work on ``key`` begins."""
        now = self._begun[key] = self._clock()
        self._waited.observe(now - self._added.pop(key))

    def finished(self, key: Key) -> None:
        """The work on ``key`` ended, well or not."""
        self._worked.observe(self._clock() - self._begun.pop(key))

    def retried(self) -> None:
        """The work on a key failed, and it is queued again."""
        self._retries.inc()

    def _running(self) -> list[float]:
        now = self._clock()
        return [now - begun for begun in self._begun.values()]
