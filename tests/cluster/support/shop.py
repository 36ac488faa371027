"""The example application and its LoadBalancer, as tests and demo look at them."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from cluster.harness.settings import REPOSITORY
from cluster.support.consul_api import (
    agent_request,
    answers,
    deregister,
    in_maintenance,
    maintain,
)
from cluster.support.waiting import wait_for
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.mapping import Backend, BackendGroup
from consul_nginx.model.nginx import Layer
from consul_nginx.model.registration import META_NAMESPACE, META_POD
from consul_nginx.plan.upstreams import upstream_id

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster

EXAMPLES = REPOSITORY / "examples"
NAMESPACE = "shop"
HOST = "shop.example.com"
APP = "my-web-server"
TEST_SERVER = "test-server"
TEST_SERVER_HTTP = "test-server-http-service"
TEST_SERVER_THRIFT = "test-server-thrift-service"
SERVICES_PORT, THRIFT_PORT = 8080, 25000
LOAD_BALANCER = "edge"
AGENT_PORT = 9901
FILES = ("my-web-server.yaml", "test-server.yaml", "shop.yaml")
INSTANCES = {APP: 3, TEST_SERVER_HTTP: 6, TEST_SERVER_THRIFT: 6}
LAYERS = {APP: Layer.HTTP, TEST_SERVER_HTTP: Layer.HTTP, TEST_SERVER_THRIFT: Layer.STREAM}


def group_of(service: str) -> BackendGroup:
    """What a mapping with this one backend and nothing else is served by."""
    return BackendGroup(backends=(Backend(query=ServiceQuery(service=service)),))


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What the operator registered for a pod, and the agent that has it."""

    id: str
    agent: str


@dataclass(frozen=True)
class Shop:
    """The examples on a cluster: two applications and the LoadBalancer in front of them.

    ``check_every_s`` is the interval of Consul's checks, and their timeout; None: what the examples
    say.
    """

    cluster: Cluster
    check_every_s: int | None = None

    @property
    def ip(self) -> str:
        """Where nginx is reached: the Service's cluster address."""
        return str(self.get("service", LOAD_BALANCER)["spec"]["clusterIP"])

    @property
    def address(self) -> str:
        """Where nginx listens for HTTP."""
        return f"{self.ip}:80"

    @property
    def services_address(self) -> str:
        """Where nginx listens for those who ask test-server by HTTP."""
        return f"{self.ip}:{SERVICES_PORT}"

    @property
    def thrift_address(self) -> str:
        """Where nginx listens for the protocol of test-server."""
        return f"{self.ip}:{THRIFT_PORT}"

    def apply(self) -> None:
        """Apply all files and wait until pods run, are registered, and nginx serves them."""
        kubectl = self.cluster.kubectl
        for name in FILES:
            words = ("apply", "--server-side", "--force-conflicts", "--filename=-")
            kubectl(*words, stdin=self.manifest(name))
        for app in (APP, TEST_SERVER):
            kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{app}", "--timeout=120s")
        self.bring_back()
        self.wait_ready()
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{LOAD_BALANCER}")
        self.wait_all_backends()

    def manifest(self, name: str) -> str:
        """One of the files, with the checks as they are wanted."""
        objects = list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))
        if self.check_every_s is not None:
            for item in objects:
                template = item.get("spec", {}).get("template", {}).get("metadata", {})
                for key in template.get("annotations", {}):
                    if key.endswith(("_CHECK_INTERVAL", "_CHECK_TIMEOUT")):
                        template["annotations"][key] = f"{self.check_every_s}s"
        return yaml.safe_dump_all(objects)

    def wait_all_backends(self) -> None:
        """Wait until nginx serves all instances of all three services."""
        wait_for(
            lambda: (
                all(
                    len(self.backends(service, LAYERS[service])) == count
                    for service, count in INSTANCES.items()
                )
                and self.is_programmed()
            ),
            what="nginx has all backends of each service",
        )

    def remove(self) -> None:
        """Delete everything, and wait until it is gone; also what no operator deregistered."""
        kubectl = self.cluster.kubectl
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        # Else the namespace looks after its pods only when half of their grace period is over.
        kubectl("delete", "pods", "-n", NAMESPACE, "--all", "--now")
        kubectl("wait", f"namespace/{NAMESPACE}", "--for=delete", "--timeout=120s", timeout=180)
        for service in INSTANCES:
            for instance in self.instances(service).values():
                deregister(instance.agent, instance.id)
            for entry in self.in_catalog(service):
                where = {"Node": entry["Node"], "ServiceID": entry["ServiceID"]}
                agent_request(self.cluster.consul_address, "PUT", "/v1/catalog/deregister", where)

    def in_catalog(self, service: str) -> list[dict[str, Any]]:
        """What Consul's catalog has of a service for pods of the shop."""
        path = f"/v1/catalog/service/{service}"
        entries = agent_request(self.cluster.consul_address, "GET", path)
        return [entry for entry in entries if entry["ServiceMeta"].get(META_NAMESPACE) == NAMESPACE]

    def instances(self, service: str = APP) -> dict[str, Instance]:
        """What is registered on the nodes' agents for pods of the shop, by pod."""
        return {
            found["Meta"][META_POD]: Instance(id=identity, agent=agent)
            for agent in self.consul_agents()
            for identity, found in agent_request(agent, "GET", "/v1/agent/services").items()
            if found["Service"] == service and found["Meta"].get(META_NAMESPACE) == NAMESPACE
        }

    def take_out(self, pod: str, service: str = APP) -> None:
        """Put what is registered for a pod into Consul's maintenance mode."""
        instance = self.instances(service)[pod]
        maintain(instance.agent, instance.id, enable=True)

    def bring_back(self) -> None:
        """End Consul's maintenance mode for everything, once every agent is there."""
        for agent in self.consul_agents():
            wait_for(partial(answers, agent), what=f"Consul's agent {agent} answers")
            for identity in in_maintenance(agent):
                maintain(agent, identity, enable=False)

    def consul_agents(self) -> list[str]:
        """Base URLs of the nodes' Consul agents."""
        return [
            f"http://{address['address']}:8500"
            for node in self.cluster.read.all("node")
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]

    def wait_ready(self) -> None:
        """Wait as a user would."""
        self.cluster.kubectl(
            "wait", "-n", NAMESPACE, f"nlb/{LOAD_BALANCER}", "--for=condition=Ready",
            "--timeout=120s",
        )  # fmt: skip

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object of the shop's namespace."""
        return self.cluster.read.one(kind, name, namespace=NAMESPACE)

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """One condition; empty as long as it is not there."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == condition), {})

    def backends(self, service: str = APP, layer: Layer = Layer.HTTP) -> set[str]:
        """Addresses of a service's backends in the bundle that nginx is given."""
        data = self.get("configmap", f"{LOAD_BALANCER}-config")["data"]
        name = f"endpoints-{upstream_id(group_of(service), layer)}.conf"
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
        pods = self.nginx_pods()
        return bool(pods) and all(self.runs_its_bundle(pod) for pod in pods)

    def runs_its_bundle(self, pod: dict[str, Any]) -> bool:
        """Whether an nginx pod runs the bundle that the ConfigMap holds; one that is silent not."""
        data = self.get("configmap", f"{LOAD_BALANCER}-config")["data"]
        wanted = json.loads(data["manifest.json"])["hash"]
        address = pod["status"].get("podIP")
        try:
            serving = _status(address)["serving"] if address else None
        except OSError:
            return False
        return bool((serving or {}).get("hash") == wanted)

    def nginx_pods(self) -> list[dict[str, Any]]:
        """nginx pods that are not on their way out."""
        labels = f"consul-nginx.dev/load-balancer={LOAD_BALANCER}"
        pods = self.cluster.read.all("pod", namespace=NAMESPACE, labels=labels)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def app_pods(self, app: str = APP) -> list[dict[str, Any]]:
        """An application's pods that are not on their way out, by name."""
        pods = self.cluster.read.all("pod", namespace=NAMESPACE, labels=f"app={app}")
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: str(pod["metadata"]["name"]))

    def agents(self) -> list[dict[str, Any]]:
        """What the agents of the nginx pods say of themselves."""
        addresses = [pod["status"].get("podIP") for pod in self.nginx_pods()]
        return [_status(address) for address in addresses if address]

    def reloads(self) -> dict[str, int]:
        """Reloads and restarts of nginx so far, by pod."""
        return {
            str(pod["metadata"]["name"]): status["nginx"]["reloads"] + status["nginx"]["restarts"]
            for pod, status in zip(self.nginx_pods(), self.agents(), strict=True)
        }


def _status(address: str) -> dict[str, Any]:
    """What the agent at a pod's address says of itself."""
    status: dict[str, Any] = json.loads(fetch(f"http://{address}:{AGENT_PORT}/status"))
    return status


def fetch(url: str) -> str:
    """Body of a GET; raises for anything but success."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text
