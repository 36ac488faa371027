"""A namespace of its own with LoadBalancers and ServiceMappings."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster

API_VERSION = "consul-nginx.dev/v1alpha1"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """Writes and reads objects of one namespace."""

    cluster: Cluster
    namespace: str

    def load_balancer(self, name: str, **spec: Any) -> None:
        """Apply a LoadBalancer; fields that are left out are taken away."""
        self._apply("nlb", "LoadBalancer", name, spec)

    def mapping(self, name: str, **spec: Any) -> None:
        """Apply a ServiceMapping; fields that are left out are taken away."""
        self._apply("smap", "ServiceMapping", name, spec)

    def secret(self, name: str, **values: str) -> None:
        """Apply a Secret."""
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.read.apply(
            "secret",
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values},
        )

    def kubectl(self, *words: str) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *words)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        return self.cluster.read.one(kind, name, namespace=self.namespace)

    def names(self, kinds: str) -> list[str]:
        """Objects as ``kind/name``, sorted."""
        return sorted(self.kubectl("get", kinds, "-o", "name").split())

    def pods(self, load_balancer: str) -> list[dict[str, Any]]:
        """nginx pods that are not on their way out."""
        labels = f"consul-nginx.dev/load-balancer={load_balancer}"
        found = self.cluster.read.all("pod", namespace=self.namespace, labels=labels)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """One condition of the present generation; empty as long as it is not there."""
        raw = self.get(kind, name)
        generation = raw["metadata"]["generation"]
        conditions = raw.get("status", {}).get("conditions", [])
        found = (item for item in conditions if item["type"] == condition)
        return next((item for item in found if item["observedGeneration"] == generation), {})

    def wait_condition(
        self, what: str, condition: str, reason: str, *, seconds: float = 60.0
    ) -> dict[str, Any]:
        """Wait until a condition of ``kind/name`` has this reason; returns it."""
        kind, _, name = what.partition("/")

        def found() -> dict[str, Any] | None:
            now = self.condition(kind, name, condition)
            return now if now.get("reason") == reason else None

        return wait_for(found, what=f"{what}: {condition} says {reason}", seconds=seconds)

    def wait_true(self, what: str, condition: str, *, seconds: int = 60) -> None:
        """Wait as a user would."""
        self.kubectl("wait", what, f"--for=condition={condition}", f"--timeout={seconds}s")

    def _apply(self, short: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        self.cluster.read.apply(short, body)


@contextmanager
def tenant(*, cluster: Cluster, namespace: str, **labels: str) -> Iterator[Tenant]:
    """A namespace while the context lasts; afterwards it goes, and nobody waits for that."""
    metadata = {"name": namespace, "labels": labels}
    wait_for(
        lambda: not _is_leaving(cluster, namespace),
        what=f"the {namespace} of an earlier run is gone",
        seconds=90,
    )
    cluster.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    found = Tenant(cluster=cluster, namespace=namespace)
    try:
        yield found
    finally:
        # In this order: nobody makes new pods in a namespace that goes.
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")
        found.kubectl("delete", "nlb,pods", "--all", "--now", "--wait=false")


def _is_leaving(cluster: Cluster, namespace: str) -> bool:
    found = cluster.read.all("namespace", fields=f"metadata.name={namespace}")
    return any("deletionTimestamp" in item["metadata"] for item in found)
