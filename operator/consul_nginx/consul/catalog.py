"""What Consul is known to say: one shared watch per distinct query, and their observations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.watch import Reader, Watch
from consul_nginx.metrics import CONSUL_WATCH_ERRORS
from consul_nginx.model.consul import Observation, ServiceQuery, Snapshot

_log = logging.getLogger(__name__)


class Catalog:
    """Owns the watches. ``changed`` is called with a query whose observation is new."""

    def __init__(
        self,
        *,
        reader: Reader,
        changed: Callable[[ServiceQuery], None],
    ) -> None:
        self._reader = reader
        self._changed = changed
        self._observations: dict[ServiceQuery, Observation] = {}
        self._watches: dict[ServiceQuery, Watch] = {}
        self._tasks: dict[ServiceQuery, asyncio.Task[None]] = {}
        self._heard: dict[ServiceQuery, asyncio.Event] = {}
        self._failing: set[ServiceQuery] = set()

    def snapshot(self) -> Snapshot:
        """Everything known at this moment; later answers don't change it."""
        return MappingProxyType(dict(self._observations))

    @property
    def watched(self) -> int:
        """Number of distinct queries that are watched."""
        return len(self._tasks)

    def crashed(self) -> str | None:
        """What is wrong when a watch has ended, which it never should: for the liveness probe."""
        ended = next((query for query, task in self._tasks.items() if task.done()), None)
        return f"the watch of {ended} ended" if ended is not None else None

    @property
    def failing(self) -> int:
        """Number of watches whose latest attempt failed."""
        return len(self._failing)

    @property
    def age(self) -> float:
        """Seconds since Consul last answered the watch that has waited longest; 0 without any."""
        return max((watch.age for watch in self._watches.values()), default=0.0)

    def watch_only(self, queries: Iterable[ServiceQuery]) -> None:
        """Start what is missing, stop and forget what nobody asks any more."""
        wanted = set(queries)
        for query in self._tasks.keys() - wanted:
            self._tasks.pop(query).cancel()
            del self._watches[query]
            self._observations.pop(query, None)
            self._heard.pop(query, None)
            self._failing.discard(query)
        for query in wanted - self._tasks.keys():
            self._heard[query] = asyncio.Event()
            watch = self._watches[query] = Watch(
                query=query, reader=self._reader, publish=self._publish, failed=self._failed
            )
            self._tasks[query] = asyncio.create_task(watch.run(), name=f"watch {query}")
            self._tasks[query].add_done_callback(_report_crash)

    async def heard(self, queries: Iterable[ServiceQuery], *, patience: float) -> None:
        """Wait until each query has been answered or has failed, at most ``patience`` seconds.

        A mapping that changes to another service must not answer 503 for the moment that Consul
        needs to answer for the first time.
        """
        events = [self._heard[query] for query in queries if query in self._heard]
        waiting = [event.wait() for event in events if not event.is_set()]
        if waiting:
            try:
                async with asyncio.timeout(patience):
                    await asyncio.gather(*waiting)
            except TimeoutError:
                _log.warning("%d Consul queries have not answered yet", len(waiting))

    async def close(self) -> None:
        """Stop all watches."""
        tasks: Mapping[ServiceQuery, asyncio.Task[None]] = dict(self._tasks)
        self.watch_only(())
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _publish(self, query: ServiceQuery, observation: Observation) -> None:
        if observation.error is None and query in self._failing:
            self._failing.discard(query)
            _log.info("Consul answers again for %s", query)
        self._observations[query] = observation
        self._heard[query].set()
        self._changed(query)

    def _failed(self, query: ServiceQuery, error: ConsulError) -> None:
        CONSUL_WATCH_ERRORS.labels(kind=error.kind).inc()
        if query not in self._failing:
            self._failing.add(query)
            _log.warning("Consul does not answer for %s: %s; trying on", query, error)


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("%s ended: a bug", task.get_name(), exc_info=error)
