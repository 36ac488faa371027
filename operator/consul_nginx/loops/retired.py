"""Removes what an earlier mode left: registrations on agents once the catalog is used, or back.

They carry our mark, and nobody follows them any more: what ends would stay in Consul for ever. They
go after everything was compared, so that what replaces them is there first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from consul_nginx.consul.errors import ConsulError
from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.registrar import Registry
from consul_nginx.model.registration import Changes, Owner, Place

_log = logging.getLogger(__name__)

SETTLE_S = 5.0


class Retired:
    """``registry`` is that of the mode that is not in use, ``places`` are where it may hold things.

    ``places`` raises ``ConsulError``.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        cluster: str,
        pods: Pods,
        places: Callable[[], Awaitable[Iterable[Place]]],
        is_compared: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._pods = pods
        self._places = places
        self._is_compared = is_compared
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Something of ours is there that nobody asks for."""
        self._wanted.set()

    async def run(self) -> None:
        """Never returns; what could not be removed is, when it is asked for again."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(SETTLE_S)
            if not self._is_compared():
                continue
            self._wanted.clear()
            try:
                for place in await self._places():
                    await self._remove(place)
            except NotLeading:
                continue
            except ConsulError as error:
                _log.debug("it can't be seen what another mode left: %s", error)

    async def _remove(self, place: Place) -> None:
        try:
            held = await self._registry.read(place)
            left = tuple(item for item in held.values() if self._is_ours(item.owner))
            if left:
                await self._registry.apply(place, Changes(remove=left))
                _log.info(
                    "%d registrations of another mode removed: node %s", len(left), place.node
                )
        except ConsulError as error:
            _log.debug("node %s may hold registrations of another mode: %s", place.node, error)

    def _is_ours(self, owner: Owner | None) -> bool:
        return (
            owner is not None
            and owner.cluster == self._cluster
            and self._pods.covers(owner.namespace)
        )
