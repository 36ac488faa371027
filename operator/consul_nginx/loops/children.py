"""Applies a LoadBalancer's objects, and takes away those that it has no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consul_nginx.kube.children import data_plane
from consul_nginx.kube.client import (
    DAEMON_SET,
    DATA_PLANE_KINDS,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    Kind,
    KubeClient,
    Raw,
)
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.ownership import get_own, is_own
from consul_nginx.kube.workload import can_replace
from consul_nginx.loops.lead import Lead
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef

# An edit of a LoadBalancer can make these superfluous.
_OPTIONAL = (SERVICE, DEPLOYMENT, DAEMON_SET, POD_DISRUPTION_BUDGET)


class Children:
    """Remembers what it applied: what did not change is not even read."""

    def __init__(self, *, kube: KubeClient, lead: Lead, image: NginxImage) -> None:
        self._kube = kube
        self._lead = lead
        self._image = image
        self._applied: dict[ObjectRef, list[dict[str, Any]]] = {}
        self._versions: dict[tuple[ObjectRef, str], Version] = {}

    async def apply(self, load_balancer: LoadBalancer, *, secrets: Sequence[str]) -> bool:
        """Make the objects what they should be; ``secrets`` are those that nginx needs.

        False when something superfluous still waits for the pods that replace it.
        """
        ref = load_balancer.meta.ref
        desired = data_plane(load_balancer=load_balancer, image=self._image, secrets=secrets)
        if self._applied.get(ref) == desired:
            return True
        # Until all is done, what is there is neither the one nor the other.
        self.forget(ref)
        applied = {body["kind"]: await self._apply(ref, body) for body in desired}
        workload = applied[DEPLOYMENT.kind if DEPLOYMENT.kind in applied else DAEMON_SET.kind]
        superfluous = [kind for kind in _OPTIONAL if kind.kind not in applied]
        removed = [await self._remove(ref, kind, workload) for kind in superfluous]
        if not all(removed):
            return False
        self._applied[ref] = desired
        return True

    def knows(self, raw: Raw, kind: Kind, ref: ObjectRef) -> bool:
        """Whether an object is as it was applied here, or older.

        What controllers write into its status does not count.
        """
        known, found = self._versions.get((ref, kind.kind)), _version(raw)
        return known is None or (found.uid == known.uid and found.number <= known.number)

    def forget(self, ref: ObjectRef) -> None:
        """Read and apply everything anew next time."""
        self._applied.pop(ref, None)

    def forget_all(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self.forget(ref)
        for key in [key for key in self._versions if key[0] == ref]:
            del self._versions[key]

    async def _apply(self, ref: ObjectRef, body: dict[str, Any]) -> Raw:
        kind = DATA_PLANE_KINDS[body["kind"]]
        current = await get_own(kube=self._kube, kind=kind, ref=ref, owner=ref)
        if current is not None:
            if not self.knows(current, kind, ref):
                # Somebody else changed it: by hand, or as another replica that leads now.
                await self._lead.confirm()
            version = current["metadata"]["resourceVersion"]
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
        raw = await self._kube.apply(kind, body)
        self._versions[ref, kind.kind] = _version(raw)
        return raw

    async def _remove(self, ref: ObjectRef, kind: Kind, workload: Raw) -> bool:
        """Whether it is gone; what ``workload`` can't replace yet goes on serving."""
        current = await self._kube.get(kind, ref)
        if current is None or not is_own(raw=current, owner=ref):
            return True
        if not can_replace(workload=workload, superfluous=current):
            return False
        await self._kube.delete(kind, current)
        return True


@dataclass(frozen=True, kw_only=True)
class Version:
    """Grows when somebody edits an object; not, where there is a generation, with its status."""

    uid: str
    number: int


def _version(raw: Raw) -> Version:
    metadata = raw["metadata"]
    number = metadata.get("generation") or int(metadata["resourceVersion"])
    return Version(uid=metadata["uid"], number=number)
