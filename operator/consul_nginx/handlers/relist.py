"""Authoritative lists of our own kinds: what vanished while a watch was broken is found by them."""

from __future__ import annotations

import asyncio
import logging

from consul_nginx.kube.client import LOAD_BALANCER, SERVICE_MAPPING, KubeClient
from consul_nginx.kube.errors import KubeError
from consul_nginx.loops.resources import Resources

_log = logging.getLogger(__name__)

PERIOD_S = 60.0
RETRY_S = 2.0
# A relist of kopf's hands over every object with no event type; one list of ours answers them all.
SETTLE_S = 0.5


class Relist:
    """Lists both kinds at start, when asked to, and every minute."""

    def __init__(
        self, *, kube: KubeClient, resources: Resources, namespaces: tuple[str, ...]
    ) -> None:
        self._kube = kube
        self._resources = resources
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """A watch began anew: have the kinds listed soon."""
        if self._resources.synced:
            self._wanted.set()

    async def run(self) -> None:
        """Never returns; an API server that does not answer is asked again."""
        failing = False
        while True:
            self._wanted.clear()
            try:
                await self._list()
            except KubeError as error:
                if not failing:
                    _log.warning("can't list our resources, trying on: %s", str(error).strip())
                failing = True
                await asyncio.sleep(RETRY_S)
                continue
            if failing:
                _log.info("our resources can be listed again")
            failing = False
            try:
                async with asyncio.timeout(PERIOD_S):
                    await self._wanted.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass

    async def _list(self) -> None:
        # LoadBalancers last: once both are there, reconciling begins, and mappings must be known.
        for kind, store in (
            (SERVICE_MAPPING, self._resources.mappings),
            (LOAD_BALANCER, self._resources.load_balancers),
        ):
            lists = [await self._kube.list(kind, namespace=scope) for scope in self._scopes]
            items = [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for answer in lists
                for item in answer["items"]
            ]
            versions = (int(answer["metadata"]["resourceVersion"]) for answer in lists)
            store.replace(items=items, version=min(versions))
