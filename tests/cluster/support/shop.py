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
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.nginx import Layer
from consul_nginx.plan.load_balancer import upstream_id

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster

EXAMPLES = REPOSITORY / "examples"
NAMESPACE = "shop"
HOST = "shop.example.com"
APP = "my-web-server"
TEST_SERVER = "test-server"
TEST_SERVER_HTTP = "test-server-http-service"
TEST_SERVER_THRIFT = "test-server-thrift-service"
THRIFT_PORT = 25000
LOAD_BALANCER = "edge"
AGENT_PORT = 9901


@dataclass(frozen=True)
class Shop:
    """The examples on a cluster: two applications and the LoadBalancer in front of them."""

    cluster: Cluster

    @cached_property
    def registration(self) -> Registration:
        """What stands in for the registrar."""
        return Registration(
            kubectl=self.cluster.kubectl, namespace=NAMESPACE, app=APP, port=8080, check="/features"
        )

    @cached_property
    def test_server(self) -> tuple[Registration, Registration]:
        """The same for the other application: its HTTP service, and its TCP service."""

        def registration(service: str, port: int, check: str | None) -> Registration:
            return Registration(
                kubectl=self.cluster.kubectl,
                namespace=NAMESPACE,
                app=TEST_SERVER,
                port=port,
                service=service,
                check=check,
            )

        return (
            registration(TEST_SERVER_HTTP, 8080, "/"),
            registration(TEST_SERVER_THRIFT, THRIFT_PORT, None),
        )

    @property
    def ip(self) -> str:
        """Where nginx is reached: the Service's cluster address."""
        return str(self.get("service", LOAD_BALANCER)["spec"]["clusterIP"])

    @property
    def address(self) -> str:
        """Where nginx listens for HTTP."""
        return f"{self.ip}:80"

    @property
    def thrift_address(self) -> str:
        """Where nginx listens for the protocol of test-server."""
        return f"{self.ip}:{THRIFT_PORT}"

    def apply(self) -> None:
        """Apply all files and wait until pods run, are registered, and nginx serves them."""
        kubectl = self.cluster.kubectl
        for name in ("my-web-server.yaml", "test-server.yaml", "shop.yaml"):
            kubectl("apply", "--server-side", "--force-conflicts", f"--filename={EXAMPLES / name}")
        for app in (APP, TEST_SERVER):
            kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{app}", "--timeout=120s")
        self.sync()
        self.wait_ready()
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{LOAD_BALANCER}")
        self.wait_all_backends()

    def sync(self) -> None:
        """Register what runs."""
        for registration in (self.registration, *self.test_server):
            registration.sync()

    def wait_all_backends(self) -> None:
        """Wait until nginx serves all three services with three backends each."""
        wait_for(
            lambda: (
                all(
                    len(self.backends(service, layer)) == 3
                    for service, layer in (
                        (APP, Layer.HTTP),
                        (TEST_SERVER_HTTP, Layer.HTTP),
                        (TEST_SERVER_THRIFT, Layer.STREAM),
                    )
                )
                and self.is_programmed()
            ),
            what="nginx has 3 backends of each service",
        )

    def remove(self) -> None:
        """Delete everything, and wait until it is gone."""
        self.clear()
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)

    def clear(self) -> None:
        """Remove every registration."""
        for registration in (self.registration, *self.test_server):
            registration.clear()

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

    def backends(self, service: str = APP, layer: Layer = Layer.HTTP) -> set[str]:
        """Addresses of a service's backends in the bundle that nginx is given."""
        data = self.get("configmap", f"{LOAD_BALANCER}-config")["data"]
        name = f"endpoints-{upstream_id(ServiceQuery(service=service), layer)}.conf"
        lines = data.get(name, "").splitlines()
        none = ("unix:", " down")
        return {
            line.split()[1].rstrip(";") for line in lines if not any(text in line for text in none)
        }

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
