"""What Consul is known to say: one shared watch per distinct query, and their observations.

The queries that changed last have a blocking query each, as many as Consul's limit of connections
leaves room for. The others are asked without blocking whenever a bell rings (``bell.py``); one that
turns out to have changed takes the place of the one that has been quiet for longest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from types import MappingProxyType
from typing import Protocol

from consul_nginx.consul.bell import Bell, Listener
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.watch import Reader, Watch
from consul_nginx.metrics import CONSUL_WATCH_ERRORS
from consul_nginx.model.consul import ConsulSource, Observation, ServiceQuery, Snapshot
from consul_nginx.tasks import crashed, forever

_log = logging.getLogger(__name__)

# Of the 200 connections that Consul allows; the rest is for bells, sweeps and confirmations, and
# for what templates ask (``facts.py``).
MAX_BLOCKING = 130
SWEEP_PARALLEL = 16
SWEEP_PAUSE_S = 1.0
SWEEP_WHEN_QUIET_S = 60.0
SWEEP_WHEN_FAILING_S = 5.0


class Consul(Reader, Listener, Protocol):
    """What the catalog needs of the client."""


class Catalog:
    """Owns the watches. ``changed`` is called with a query whose observation is new."""

    def __init__(
        self,
        *,
        reader: Consul,
        changed: Callable[[ServiceQuery], None],
        max_blocking: int = MAX_BLOCKING,
        sweep_pause: float = SWEEP_PAUSE_S,
    ) -> None:
        self._reader = reader
        self._changed = changed
        self._max_blocking = max_blocking
        self._sweep_pause = sweep_pause
        self._observations: dict[ServiceQuery, Observation] = {}
        self._watches: dict[ServiceQuery, Watch] = {}
        self._heard: dict[ServiceQuery, asyncio.Event] = {}
        self._failing: set[ServiceQuery] = set()
        # By the time of their last change, the quietest first.
        self._blocking: OrderedDict[ServiceQuery, asyncio.Task[None]] = OrderedDict()
        self._bells: dict[tuple[ConsulSource, str], asyncio.Task[None]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._rung = asyncio.Event()

    def snapshot(self) -> Snapshot:
        """Everything known at this moment; later answers don't change it."""
        return MappingProxyType(dict(self._observations))

    @property
    def watched(self) -> int:
        """Number of distinct queries that are watched."""
        return len(self._watches)

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
        for query in self._watches.keys() - wanted:
            self._forget(query)
        for query in sorted(wanted - self._watches.keys()):
            self._heard[query] = asyncio.Event()
            self._watches[query] = Watch(
                query=query, reader=self._reader, publish=self._publish, failed=self._failed
            )
        self._share_connections()

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
        tasks = self._tasks()
        self.watch_only(())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        sweeper = [self._sweeper] if self._sweeper is not None else []
        return [*self._blocking.values(), *self._bells.values(), *sweeper]

    def _forget(self, query: ServiceQuery) -> None:
        del self._watches[query]
        self._observations.pop(query, None)
        self._heard.pop(query, None)
        self._failing.discard(query)
        if (task := self._blocking.pop(query, None)) is not None:
            task.cancel()

    def _share_connections(self) -> None:
        """Block for as many queries as there is room for, and have the others swept."""
        for query in self._swept():
            if len(self._blocking) >= self._max_blocking:
                break
            self._block_for(query)
        swept = self._swept()
        places = {(query.source, query.datacenter) for query in swept}
        for place in self._bells.keys() - places:
            self._bells.pop(place).cancel()
        for source, datacenter in places - self._bells.keys():
            bell = Bell(
                listener=self._reader, source=source, datacenter=datacenter, ring=self._rung.set
            )
            self._bells[source, datacenter] = _task(bell.run, "bell", what=source.address)
        if swept and self._sweeper is None:
            self._sweeper = _task(self._sweep, "sweep")
        elif not swept and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._rung.set()

    def _swept(self) -> list[ServiceQuery]:
        return [query for query in self._watches if query not in self._blocking]

    def _block_for(self, query: ServiceQuery) -> None:
        self._blocking[query] = _task(self._watches[query].run, "watch", what=str(query))

    async def _sweep(self) -> None:
        """Ask for everything that has no blocking query, after every ring and now and then."""
        slots = asyncio.Semaphore(SWEEP_PARALLEL)

        async def look(query: ServiceQuery) -> None:
            async with slots:
                if query not in self._watches or query in self._blocking:
                    return
                try:
                    await self._watches[query].look(blocking=False)
                except Exception as error:  # noqa: BLE001 - the others are to be asked
                    crashed("watch", error, what=str(query))

        while True:
            self._rung.clear()
            await asyncio.gather(*map(look, self._swept()))
            await asyncio.sleep(self._sweep_pause)
            patience = SWEEP_WHEN_FAILING_S if self._failing else SWEEP_WHEN_QUIET_S
            try:
                async with asyncio.timeout(patience):
                    await self._rung.wait()
            except TimeoutError:
                pass

    def _publish(self, query: ServiceQuery, observation: Observation) -> None:
        if query not in self._watches:
            return  # nobody asks any more: it was on its way when it was forgotten
        if observation.error is None and query in self._failing:
            self._failing.discard(query)
            _log.info("Consul answers again for %s", query)
        known = self._observations.get(query)
        self._observations[query] = observation
        self._heard[query].set()
        if known is not None and known.instances != observation.instances:
            self._prefer(query)
        self._changed(query)

    def _prefer(self, query: ServiceQuery) -> None:
        """What changed is likely to change again: it has a blocking query from now on."""
        if query in self._blocking:
            self._blocking.move_to_end(query)
        elif self._blocking:
            _, task = self._blocking.popitem(last=False)
            task.cancel()
            self._block_for(query)

    def _failed(self, query: ServiceQuery, error: ConsulError) -> None:
        if query not in self._watches:
            return
        CONSUL_WATCH_ERRORS.labels(kind=error.kind).inc()
        if query not in self._failing:
            self._failing.add(query)
            _log.warning("Consul does not answer for %s: %s; trying on", query, error)


def _task(work: Callable[[], Awaitable[None]], name: str, *, what: str = "") -> asyncio.Task[None]:
    return asyncio.create_task(forever(work, name=name, what=what), name=f"{name} {what}")
