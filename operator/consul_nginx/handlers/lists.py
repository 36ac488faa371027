"""What is listed authoritatively: our own kinds, namespaces, and Pods."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from consul_nginx.kube.client import (
    LOAD_BALANCER,
    NAMESPACE,
    POD,
    SERVICE_MAPPING,
    Kind,
    KubeClient,
)
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.resources import Listed, Resources

_log = logging.getLogger(__name__)

RESOURCES_PERIOD_S = 60.0
PODS_PERIOD_S = 300.0

_KINDS = (SERVICE_MAPPING, LOAD_BALANCER)


class Each:
    """Lists each of ``namespaces``, or all at once when they are empty.

    One that may not be listed keeps what is known of it, and blinds no other.
    """

    def __init__(self, *, namespaces: tuple[str, ...]) -> None:
        self.namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._refused: set[str | None] = set()

    async def take(self, take: Callable[[str | None], Awaitable[None]]) -> None:
        """Raises ``KubeError``; ``KubeRefused`` only when every namespace is refused."""
        refusals = []
        for namespace in self.namespaces:
            try:
                await take(namespace)
            except KubeRefused as error:
                refusals.append(error)
                if namespace is not None and namespace not in self._refused:
                    self._refused.add(namespace)
                    _log.warning("namespace %s is left out: %s", namespace, str(error).strip())
            else:
                self._refused.discard(namespace)
        if len(refusals) == len(self.namespaces):
            raise refusals[0]


class ResourceLists:
    """Both of our kinds, and the labels of namespaces."""

    def __init__(
        self, *, kube: KubeClient, resources: Resources, namespaces: tuple[str, ...]
    ) -> None:
        self._kube = kube
        self._resources = resources
        self._each = Each(namespaces=namespaces)

    async def take(self) -> None:
        """Raises ``KubeError``."""
        if self._each.namespaces == (None,):
            await self._list_namespaces()
        await self._each.take(self._list)

    async def _list(self, namespace: str | None) -> None:
        lists = {kind.plural: await self._list_kind(kind, namespace) for kind in _KINDS}
        self._resources.take(namespace=namespace, lists=lists)

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


class PodLists:
    """Pods, a page at a time: ten thousand at once would take hundreds of megabytes."""

    def __init__(self, *, kube: KubeClient, pods: Pods, namespaces: tuple[str, ...]) -> None:
        self._kube = kube
        self._pods = pods
        self._each = Each(namespaces=namespaces)

    async def take(self) -> None:
        """A namespace is complete once its last page is there. Raises ``KubeError``."""
        await self._each.take(self._list)

    async def _list(self, namespace: str | None) -> None:
        uids: set[str] = set()
        version = 0
        async for page in self._kube.pages(POD, namespace=namespace):
            # A later page is of the same version as the first.
            version = int(page["metadata"]["resourceVersion"])
            for raw in page["items"]:
                uids.add(raw["metadata"]["uid"])
                self._pods.put(raw)
        self._pods.listed(uids=uids, version=version, namespace=namespace)
