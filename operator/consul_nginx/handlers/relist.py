"""Authoritative lists of our own kinds: what vanished while a watch was broken is found by them."""

from __future__ import annotations

import asyncio
import logging

from consul_nginx.kube.client import LOAD_BALANCER, SERVICE_MAPPING, Kind, KubeClient, Raw
from consul_nginx.kube.errors import KubeError, KubeRefused
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
        self._refused: set[str | None] = set()
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
            lists = await self._lists(kind)
            items = [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for answer in lists
                for item in answer["items"]
            ]
            versions = (int(answer["metadata"]["resourceVersion"]) for answer in lists)
            store.replace(items=items, version=min(versions))

    async def _lists(self, kind: Kind) -> list[Raw]:
        """A list per namespace; one that may not be read counts as empty, if another one may."""
        lists = []
        refusal: KubeRefused | None = None
        for scope in self._scopes:
            try:
                lists.append(await self._kube.list(kind, namespace=scope))
            except KubeRefused as error:
                refusal = error
                self._say_refused(scope=scope, error=error)
            else:
                self._refused.discard(scope)
        if not lists and refusal is not None:
            raise refusal
        return lists

    def _say_refused(self, *, scope: str | None, error: KubeRefused) -> None:
        if scope is not None and scope not in self._refused:
            self._refused.add(scope)
            _log.warning("namespace %s is left out: %s", scope, str(error).strip())
