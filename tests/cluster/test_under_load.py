"""Heavy traffic at a constant rate, while everything is replaced or changes: nothing is lost."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.consul_api import agent_request
from cluster.support.instances import instances
from cluster.support.tcp_traffic import tcp_traffic
from cluster.support.tenant import tenant
from cluster.support.vegeta import Load, load
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.traffic import Traffic

REQUESTS = 50_000
CHANGES = 36

NAMESPACE = "load"
NAME = "busy"  # of LoadBalancer, Deployment, Service, and of the service in Consul
HOST = "busy.example.com"
PORTS = range(21000, 21003)
LISTENERS = (
    {"name": "http", "protocol": "HTTP", "port": 80},
    {"name": "tcp", "protocol": "TCP", "port": 25000},
)
# Longer than old workers go on answering; each instance answers 30 times a second.
GONE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Busy:
    """A LoadBalancer with an HTTP and a TCP listener, and three instances behind them."""

    cluster: Cluster

    @property
    def agent(self) -> str:
        return f"http://{self.cluster.instance.node_ip(1)}:8500"

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *words, timeout=180)

    def field(self, kind: str, path: str) -> str:
        return self.kubectl("get", kind, NAME, f"--output=jsonpath={path}")

    def ports(self) -> list[int]:
        return [int(port) for port in self.field("service", "{.spec.ports[*].port}").split()]

    def pods(self) -> set[str]:
        selector = f"--selector=consul-nginx.dev/load-balancer={NAME}"
        return set(self.kubectl("get", "pods", "--output=name", selector).split())

    @contextmanager
    def traffic(self, *, rate: int) -> Iterator[Sent]:
        """Requests over kept connections, and 100 TCP connections per second."""
        ip = self.field("service", "{.spec.clusterIP}")
        http = load(
            settings=self.cluster.settings,
            addresses=[f"{ip}:80"],
            host=HOST,
            rate=rate,
        )
        with http as requests, tcp_traffic(addresses=[f"{ip}:25000"]) as connections:
            wait_for(lambda: len(connections.by_pod) == len(PORTS), what="all instances answer")
            yield Sent(http=requests, tcp=connections)


@dataclass(frozen=True, kw_only=True)
class Sent:
    http: Load
    tcp: Traffic

    def answers(self, port: int) -> bool:
        """Whether an instance answered a moment ago."""
        return str(port) in self.tcp.pods_since(self.tcp.elapsed() - GONE_S)

    def assert_nothing_failed(self) -> None:
        assert not self.http.failures, self.http.explain()
        assert not self.tcp.failures, self.tcp.explain()


@pytest.fixture(scope="module")
def busy(cluster: Cluster, release: Release) -> Iterator[Busy]:
    found = Busy(cluster=cluster)
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    with (
        instances(address=cluster.host_ip, ports=PORTS),
        tenant(cluster=cluster, namespace=NAMESPACE, **level),
    ):
        for port in PORTS:
            body = {"ID": f"{NAME}-{port}", "Name": NAME, "Address": cluster.host_ip, "Port": port}
            agent_request(found.agent, "PUT", "/v1/agent/service/register", body)
        cluster.kubectl.apply([_load_balancer(), *map(_mapping, LISTENERS)])
        try:
            found.kubectl("wait", f"nlb/{NAME}", "--for=condition=Ready", "--timeout=120s")
            found.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=60s")
            yield found
        finally:
            for port in PORTS:
                agent_request(found.agent, "PUT", f"/v1/agent/service/deregister/{NAME}-{port}")


def _load_balancer() -> dict[str, Any]:
    return {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "LoadBalancer",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"listeners": list(LISTENERS)},
    }


def _mapping(listener: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "ServiceMapping",
        "metadata": {"name": listener["name"], "namespace": NAMESPACE},
        "spec": {
            "loadBalancerRef": {"name": NAME},
            "listener": listener["name"],
            "backends": [{"service": NAME}],
            **({"hostnames": [HOST]} if listener["protocol"] == "HTTP" else {}),
        },
    }


def test_replacing_scaling_upgrading_and_other_listeners_lose_nothing(busy: Busy, release: Release):
    def replace() -> None:
        before = busy.pods()
        busy.kubectl("rollout", "restart", f"deployment/{NAME}")
        busy.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s")
        wait_for(lambda: not before & busy.pods(), what="the old pods are gone")

    def scale(count: int) -> None:
        busy.kubectl("scale", f"nlb/{NAME}", f"--replicas={count}")
        wait_for(
            lambda: busy.field("nlb", "{.status.dataPlane.summary}") == f"{count}/{count}",
            what=f"{count} pods are up to date",
        )
        wait_for(lambda: len(busy.pods()) == count, what=f"{count} pods are there")

    def upgrade() -> None:
        old = release.operator_pod()["metadata"]["name"]
        release.install(**{"podAnnotations.version": "under-load"})
        release.wait_for_another_operator(old)

    def listen(*listeners: dict[str, Any]) -> None:
        patch = json.dumps({"spec": {"listeners": listeners}})
        busy.kubectl("patch", f"nlb/{NAME}", "--type=merge", "--patch", patch)

    def add_and_take_away(protocol: str) -> None:
        more = {"name": "more", "protocol": protocol, "port": 7000}
        listen(*LISTENERS, more)
        busy.cluster.kubectl.apply([_mapping(more)])
        busy.kubectl("wait", "smap/more", "--for=condition=Programmed", "--timeout=60s")
        listen(*LISTENERS)
        wait_for(lambda: 7000 not in busy.ports(), what="the listener is gone")
        busy.kubectl("delete", "smap/more")

    with busy.traffic(rate=800) as sent:
        replace()
        scale(4)
        scale(2)
        upgrade()
        added = 0
        while sent.http.requests < REQUESTS or added < 3:
            add_and_take_away("HTTP")
            add_and_take_away("TCP")
            added += 1
    print(f"\n{sent.http.requests} requests, {added} times two listeners more and less")
    sent.assert_nothing_failed()


def test_changes_in_consul_lose_nothing(busy: Busy):
    """The instances go into maintenance and come back, one after the other."""

    def maintain(port: int, *, enable: bool) -> None:
        path = f"/v1/agent/service/maintenance/{NAME}-{port}"
        agent_request(busy.agent, "PUT", f"{path}?enable={str(enable).lower()}&reason=test")
        wait_for(
            lambda: sent.answers(port) is not enable,
            what=f"instance {port} {'is gone' if enable else 'is back'}",
            interval=0.02,
        )

    with busy.traffic(rate=500) as sent:
        for _ in range(CHANGES // (2 * len(PORTS))):
            for port in PORTS:
                maintain(port, enable=True)
                maintain(port, enable=False)
    sent.assert_nothing_failed()
