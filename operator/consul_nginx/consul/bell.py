"""Tells that something in a Consul has moved, by three connections instead of one per service.

Consul allows 200 connections per client (``limits.http_max_conns_per_client``), and a blocking
query holds one. What moved is then found by asking for each service without blocking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from consul_nginx.backoff import Backoff
from consul_nginx.consul.errors import ConsulError
from consul_nginx.model.consul import ConsulSource
from consul_nginx.rate import TokenBucket

# Between them they move with every check, every registration, and every node's address.
PLACES = ("health/state/any", "catalog/services", "catalog/nodes")
# What answers at once, as a proxy that knows no blocking queries does, is not asked without pause.
QUESTIONS_PER_S = 10.0
QUESTIONS_AT_ONCE = 5


class Listener(Protocol):
    """The part of the client that a bell needs."""

    async def moved(self, *, place: str, source: ConsulSource, datacenter: str, index: int) -> int:
        """Block until ``place`` moves on from ``index``; see ``ConsulClient.moved``."""


class Bell:
    """Calls ``ring`` after each move, and once the Consul answers again after it did not."""

    def __init__(
        self,
        *,
        listener: Listener,
        source: ConsulSource,
        datacenter: str,
        ring: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._source = source
        self._datacenter = datacenter
        self._ring = ring

    async def run(self) -> None:
        """Never returns; ends by cancellation."""
        async with asyncio.TaskGroup() as places:
            for place in PLACES:
                places.create_task(self._listen(place))

    async def _listen(self, place: str) -> None:
        index, backoff = 0, Backoff(first=0.2, last=10.0)
        rate = TokenBucket(per_second=QUESTIONS_PER_S, burst=QUESTIONS_AT_ONCE)
        while True:
            try:
                found = await self._listener.moved(
                    place=place, source=self._source, datacenter=self._datacenter, index=index
                )
            except ConsulError:
                index = 0
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            if found != index:
                self._ring()
            index = 0 if found < index else found
            await asyncio.sleep(rate.take())
