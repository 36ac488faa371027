"""Nodes and pods by the thousand that kwok plays on the cluster's real API server.

Nothing real lands on the nodes: they are tainted, and have no CPU and no memory to give to what
asks for some, as Consul's client agents do, which tolerate any taint. Nobody answers at the
addresses: they are of a network for benchmarks (RFC 2544).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.harness import binaries, processes
from cluster.support.api import api
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.harness.cluster import Cluster

LABEL = "test.consul-nginx.dev/kwok"
TOLERATION = {"key": LABEL, "operator": "Exists"}
PORT = 8080
_STAGES = Path(__file__).with_suffix(".yaml")
_PODS = "/api/v1/namespaces/{namespace}/pods"
_NODES = "/api/v1/nodes"


@dataclass(frozen=True, kw_only=True)
class Kwok:
    """The nodes, and how pods come to them and go."""

    cluster: Cluster
    nodes: tuple[str, ...]

    def create_pods(
        self,
        namespace: str,
        names: Iterable[str],
        annotations: Mapping[str, str],
        *,
        ports: tuple[int, ...] = (PORT,),
    ) -> None:
        """Create pods together, spread over nodes; kwok has them ready a moment later."""
        pods = [
            pod(
                name,
                node=self.nodes[number % len(self.nodes)],
                annotations=annotations,
                ports=ports,
            )
            for number, name in enumerate(names)
        ]

        async def create() -> None:
            async with api(self.cluster) as found:
                await found.create(_PODS.format(namespace=namespace), pods)

        asyncio.run(create())

    def delete_pods(self, namespace: str, names: Iterable[str]) -> None:
        """Delete pods together; kwok ends them."""
        path = _PODS.format(namespace=namespace)

        async def delete() -> None:
            async with api(self.cluster) as found:
                await found.delete(f"{path}/{name}" for name in names)

        asyncio.run(delete())

    def lose(self, node: str) -> None:
        """Play a node no longer: nobody renews its Lease, as if its machine had no power."""
        self.cluster.kubectl("label", "node", node, f"{LABEL}-")


def pod(
    name: str, *, node: str, annotations: Mapping[str, str], ports: tuple[int, ...] = (PORT,)
) -> dict[str, Any]:
    """A pod for a node, past the scheduler; ``web-1`` has the label ``app=web``."""
    labels = {"app": name.rpartition("-")[0]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": dict(annotations)},
        "spec": {"nodeName": node, **pod_spec(ports)},
    }


def pod_spec(ports: tuple[int, ...] = (PORT,)) -> dict[str, Any]:
    """What a pod, or a pod template, of such a node has to have."""
    return {
        "nodeSelector": {LABEL: "true"},
        "tolerations": [TOLERATION],
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "app",
                "image": "played:1",
                "ports": [{"containerPort": port} for port in ports],
            }
        ],
    }


@contextmanager
def kwok(*, cluster: Cluster, count: int) -> Iterator[Kwok]:
    """Have ``count`` nodes while the context lasts; pods on them end with it."""
    program = binaries.provide(cluster.settings, "kwok")
    found = Kwok(cluster=cluster, nodes=tuple(f"kwok-{number}" for number in range(count)))
    _remove(found)
    processes.start(
        [
            program,
            f"--kubeconfig={cluster.settings.kubeconfig}",
            f"--config={_STAGES}",
            f"--manage-nodes-with-label-selector={LABEL}=true",
            "--node-lease-duration-seconds=40",
        ],
        name="kwok",
        instance=cluster.instance,
        logs=cluster.settings.logs,
    )
    try:
        asyncio.run(_create_nodes(found))
        wait_for(lambda: len(_ready(cluster)) >= count, what="kwok's nodes are ready")
        yield found
    finally:
        _remove(found)
        processes.stop(cluster.instance, "kwok")


def _remove(found: Kwok) -> None:
    """Pods first, for without their node they stay for a minute.

    Last those that daemon sets want on the nodes: while there is the node, they are made again, and
    nobody looks after them when it is gone.
    """

    async def remove() -> None:
        async with api(found.cluster) as connection:
            for path, belongs in (
                ("/api/v1/pods", lambda item: item["spec"].get("nodeName") in found.nodes),
                (_NODES, lambda item: item["metadata"]["name"] in found.nodes),
                ("/api/v1/pods", lambda item: _wanted_node(item) in found.nodes),
            ):
                items = await connection.items(path)
                await connection.delete(map(_path, filter(belongs, items)), force=True)

    asyncio.run(remove())


def _path(item: dict[str, Any]) -> str:
    metadata = item["metadata"]
    if "namespace" in metadata:
        return f"{_PODS.format(namespace=metadata['namespace'])}/{metadata['name']}"
    return f"{_NODES}/{metadata['name']}"


def _wanted_node(item: dict[str, Any]) -> str | None:
    """The node that a daemon set made a pod for."""
    affinity = item["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    names = [
        value
        for term in required.get("nodeSelectorTerms", ())
        for field in term.get("matchFields", ())
        for value in field["values"]
    ]
    return names[0] if names else None


async def _create_nodes(found: Kwok) -> None:
    async with api(found.cluster) as connection:
        await connection.create(
            _NODES, (_node(name, number) for number, name in enumerate(found.nodes))
        )


def _node(name: str, number: int) -> dict[str, Any]:
    room = {"cpu": "0", "memory": "0", "pods": "250"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {LABEL: "true", "kubernetes.io/hostname": name}},
        "spec": {
            "podCIDR": f"198.18.{number}.0/24",
            "podCIDRs": [f"198.18.{number}.0/24"],
            "taints": [{"key": LABEL, "effect": "NoSchedule"}],
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"198.19.0.{number + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "capacity": room,
            "allocatable": room,
        },
    }


def _ready(cluster: Cluster) -> list[str]:
    nodes = json.loads(cluster.kubectl("get", "nodes", f"--selector={LABEL}", "-o", "json"))
    return [
        item["metadata"]["name"]
        for item in nodes["items"]
        for condition in item["status"].get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True")
    ]
