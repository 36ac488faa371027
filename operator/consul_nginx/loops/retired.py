"""Removes registrations where no comparison looks.

An earlier mode left some: on agents once the catalog is used, or back. An agent that was away while
the last Pod of its node that we may see ended has some when it returns. They carry our mark, and
nobody follows them any more: what ends would stay in Consul for ever. They go after everything was
compared, so that what replaces them is there first. Nothing replaces those of Pods that are
missing: the brake holds them as it does others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from consul_nginx.consul.errors import ConsulError
from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops.evidence import Evidence
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.registrar import LOOK_AGAIN_S, Registry
from consul_nginx.model.registration import Owner, Place
from consul_nginx.registrar.difference import difference

_log = logging.getLogger(__name__)

SETTLE_S = 5.0


class Retired:
    """``places`` are where ``registry`` may hold things; it raises ``ConsulError``.

    ``spares`` says of which Pods, by UID, they stay; ``confirm`` has Pods listed as the brake needs
    it.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        cluster: str,
        pods: Pods,
        places: Callable[[], Awaitable[Iterable[Place]]],
        is_compared: Callable[[], bool],
        confirm: Callable[[], None],
        spares: Callable[[str], bool] = lambda _uid: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._spares = spares
        self._evidence = Evidence(pods=pods, cluster=cluster, clock=clock)
        self._places = places
        self._is_compared = is_compared
        self._confirm = confirm
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
                kept = [await self._remove(place) for place in await self._places()]
            except NotLeading:
                continue
            except ConsulError as error:
                _log.debug("it can't be seen what nobody follows: %s", error)
            else:
                if any(kept):
                    self._confirm()
                    asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self.ask)

    async def _remove(self, place: Place) -> int:
        """Returns how many registrations the brake keeps."""
        try:
            held = await self._registry.read(place)
            kept = self._evidence.look(place.node, held)
            changes = difference(
                wanted=(),
                held=held,
                cluster=self._cluster,
                may_remove=self._may_remove,
            )
            if changes:
                await self._registry.apply(place, changes)
                _log.info(
                    "%d registrations that nobody follows removed: node %s",
                    len(changes.remove),
                    place.node,
                )
        except ConsulError as error:
            _log.debug("node %s may hold what nobody follows: %s", place.node, error)
            return 0
        return kept

    def _may_remove(self, owner: Owner) -> bool:
        return not self._spares(owner.pod_uid) and self._evidence.suffices(owner)
