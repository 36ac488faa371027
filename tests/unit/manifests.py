"""Manifests as people write them, a snapshot of Consul, and the golden folders that have both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
# A command knows nothing of what Consul said earlier.
CASES = sorted(
    {path.parent.name for path in GOLDEN.glob("*/manifest.yaml")}
    - {path.parent.name for path in GOLDEN.glob("*/consul-*-ago.json")}
)

ENTRY = {
    "Node": {"Node": "node-1", "Address": "192.0.2.1"},
    "Service": {"ID": "a", "Address": "10.0.0.1", "Port": 80, "Tags": ["v1"]},
    "Checks": [],
}
SNAPSHOT = {"datacenters": {"dc1": {"services": {"web": [ENTRY]}}}}


def balancer(name: str = "edge", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "LoadBalancer",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"listeners": [{"name": "http", "port": 80}], **spec},
    }


def mapping(name: str = "web", *, to: str = "edge", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "ServiceMapping",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "loadBalancerRef": {"name": to},
            "listener": "http",
            "backends": [{"service": "web"}],
            **spec,
        },
    }
