"""The example application and its LoadBalancer, as tests and demo look at them."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cluster.harness.settings import REPOSITORY
from cluster.support.registration import Registration
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster

EXAMPLES = REPOSITORY / "examples"
NAMESPACE = "shop"
HOST = "shop.example.com"
APP = "my-web-server"
LOAD_BALANCER = "edge"
AGENT_PORT = 9901


@dataclass(frozen=True)
class Shop:
    """``examples/my-web-server.yaml`` and ``examples/shop.yaml`` on a cluster."""

    cluster: Cluster

    @cached_property
    def registration(self) -> Registration:
        """What stands in for the registrar."""
        return Registration(
            kubectl=self.cluster.kubectl, namespace=NAMESPACE, app=APP, port=8080, check="/features"
        )

    @property
    def address(self) -> str:
        """Where nginx is reached: the Service's cluster address."""
        service = self.get("service", LOAD_BALANCER)
        return f"{service['spec']['clusterIP']}:80"

    def apply(self) -> None:
        """Apply both files and wait until pods run, are registered, and nginx serves them."""
        kubectl = self.cluster.kubectl
        for name in ("my-web-server.yaml", "shop.yaml"):
            kubectl("apply", "--server-side", "--force-conflicts", f"--filename={EXAMPLES / name}")
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{APP}", "--timeout=120s")
        self.registration.sync()
        self.wait_ready()
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{LOAD_BALANCER}")
        self.wait_backends(3)

    def remove(self) -> None:
        """Delete everything, and wait until it is gone."""
        self.registration.clear()
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)

    def wait_ready(self) -> None:
        """Wait as a user would."""
        self.cluster.kubectl(
            "wait", "-n", NAMESPACE, f"nlb/{LOAD_BALANCER}", "--for=condition=Ready",
            "--timeout=120s",
        )  # fmt: skip

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object of the shop's namespace."""
        found: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", "-n", NAMESPACE, kind, name, "-o", "json")
        )
        return found

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """One condition; empty as long as it is not there."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == condition), {})

    def backends(self) -> set[str]:
        """Addresses of the backends in the bundle that nginx is given."""
        data = self.get("configmap", f"{LOAD_BALANCER}-config")["data"]
        lines = [
            line
            for name, text in data.items()
            if name.startswith("endpoints-")
            for line in text.splitlines()
        ]
        return {line.split()[1].rstrip(";") for line in lines if "unix:" not in line}

    def wait_backends(self, count: int) -> set[str]:
        """Wait until every nginx pod has this many backends; returns them."""

        wait_for(
            lambda: len(self.backends()) == count and self.is_programmed(),
            what=f"nginx has {count} backends",
        )
        return self.backends()

    def is_programmed(self) -> bool:
        """Whether every nginx pod runs the bundle that the ConfigMap holds."""
        manifest = json.loads(
            self.get("configmap", f"{LOAD_BALANCER}-config")["data"]["manifest.json"]
        )
        statuses = self.agents()
        return bool(statuses) and all(
            (status["serving"] or {}).get("hash") == manifest["hash"] for status in statuses
        )

    def nginx_pods(self) -> list[dict[str, Any]]:
        """nginx pods that are not on their way out."""
        words = ("get", "pods", "-n", NAMESPACE, "-o", "json")
        selector = f"--selector=consul-nginx.dev/load-balancer={LOAD_BALANCER}"
        items = json.loads(self.cluster.kubectl(*words, selector))["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def app_pods(self) -> list[dict[str, Any]]:
        """Application pods that are not on their way out, by name."""
        words = ("get", "pods", "-n", NAMESPACE, "-l", f"app={APP}", "-o", "json")
        items = json.loads(self.cluster.kubectl(*words))["items"]
        living = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: str(pod["metadata"]["name"]))

    def agents(self) -> list[dict[str, Any]]:
        """What the agents of the nginx pods say of themselves."""
        addresses = [pod["status"].get("podIP") for pod in self.nginx_pods()]
        return [
            json.loads(fetch(f"http://{address}:{AGENT_PORT}/status"))
            for address in addresses
            if address
        ]

    def reloads(self) -> dict[str, int]:
        """Reloads and restarts of nginx so far, by pod."""
        return {
            str(pod["metadata"]["name"]): status["nginx"]["reloads"] + status["nginx"]["restarts"]
            for pod, status in zip(self.nginx_pods(), self.agents(), strict=True)
        }


def fetch(url: str) -> str:
    """Body of a GET; raises for anything but success."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text
