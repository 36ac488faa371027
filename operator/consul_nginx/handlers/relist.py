"""Authoritative lists of our own kinds: what vanished while a watch was broken is found by them."""

from __future__ import annotations

import asyncio
import logging

from consul_nginx.kube.client import LOAD_BALANCER, NAMESPACE, SERVICE_MAPPING, Kind, KubeClient
from consul_nginx.kube.errors import KubeError, KubeRefused
from consul_nginx.loops.resources import Listed, Resources

_log = logging.getLogger(__name__)

PERIOD_S = 60.0
RETRY_S = 2.0
# A relist of kopf's hands over every object with no event type; one list of ours answers them all.
SETTLE_S = 0.5

_KINDS = (SERVICE_MAPPING, LOAD_BALANCER)


class Relist:
    """Lists both kinds at start, when asked to, and every minute.

    ``listed`` is set once they are known for the first time.
    """

    def __init__(
        self, *, kube: KubeClient, resources: Resources, namespaces: tuple[str, ...]
    ) -> None:
        self._kube = kube
        self._resources = resources
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._refused: set[str | None] = set()
        self._wanted = asyncio.Event()
        self.listed = asyncio.Event()

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
            self.listed.set()
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
        """One namespace that may not be listed keeps what is known of it, and blinds no other."""
        if self._namespaces == (None,):
            await self._list_namespaces()
        refusals = []
        for namespace in self._namespaces:
            try:
                lists = {kind.plural: await self._list_kind(kind, namespace) for kind in _KINDS}
            except KubeRefused as error:
                refusals.append(error)
                if namespace is not None and namespace not in self._refused:
                    self._refused.add(namespace)
                    _log.warning("namespace %s is left out: %s", namespace, str(error).strip())
            else:
                self._refused.discard(namespace)
                self._resources.take(namespace=namespace, lists=lists)
        if len(refusals) == len(self._namespaces):
            raise refusals[0]

    async def _list_namespaces(self) -> None:
        """Without the right to read them, choosing namespaces by labels is refused, not guessed."""
        try:
            self._resources.namespaces.replace((await self._kube.list(NAMESPACE))["items"])
        except KubeRefused as error:
            _log.debug("namespaces can't be listed: %s", error)

    async def _list_kind(self, kind: Kind, namespace: str | None) -> Listed:
        answer = await self._kube.list(kind, namespace=namespace)
        return Listed(
            items=tuple(
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in answer["items"]
            ),
            version=int(answer["metadata"]["resourceVersion"]),
        )
