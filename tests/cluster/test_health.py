"""Instances that fail, flap or go away, and Pods whose address another Pod gets."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.consul_api import agent_request
from cluster.support.consul_servers import cut_off, scale_servers
from cluster.support.pod_addresses import give_next
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from consul_nginx.kube.state import decode_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.harness.node import Node
    from cluster.support.release import Release
    from cluster.support.traffic import Traffic

HOST, SERVICE, PORT = "health.example.com", "health-app", 8080
NODE = "health-test"
SERVER = f"""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        data = json.dumps({{"pod": os.environ["HOSTNAME"]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass

# nginx opens as many connections as there are requests at once; 5 is what waits else.
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""


def pod_spec() -> dict[str, Any]:
    """A pod that answers with its name."""
    return {
        "terminationGracePeriodSeconds": 2,
        "containers": [
            {
                "name": "app",
                "image": "docker.io/library/python:3.13-slim-trixie",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", SERVER],
                "ports": [{"containerPort": PORT}],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            }
        ],
    }


def run_pods(found: Tenant, *names: str, node: Node, service: str | None) -> list[str]:
    """Run pods on a node, registered if they have a service; returns their addresses once ready."""
    annotations = {} if service is None else {"SERVICE_NAME": service}
    spec = {**pod_spec(), "nodeName": node.name}
    found.cluster.kubectl.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": found.namespace,
                    "annotations": annotations,
                },
                "spec": spec,
            }
            for name in names
        ]
    )
    for name in names:
        found.wait_true(f"pod/{name}", "Ready")
    return [str(found.get("pod", name)["status"]["podIP"]) for name in names]


@contextmanager
def edge(cluster: Cluster, namespace: str) -> Iterator[Tenant]:
    """A LoadBalancer in a namespace of its own; ``wait_healthy`` waits for its pod, too."""
    with tenant(cluster=cluster, namespace=namespace) as found:
        found.load_balancer(
            "edge", listeners=[{"name": "http", "port": 80}], deployment={"replicas": 1}
        )
        yield found


def map_service(found: Tenant, **spec: Any) -> None:
    found.mapping(
        "app",
        loadBalancerRef={"name": "edge"},
        listener="http",
        hostnames=[HOST],
        backends=[{"service": SERVICE}],
        **spec,
    )


def address_of(found: Tenant) -> str:
    return f"{found.get('service', 'edge')['spec']['clusterIP']}:80"


def status_of(address: str) -> int:
    return ask(address=address, host=HOST, path="/")[0]


def wait_healthy(found: Tenant, summary: str) -> None:
    def told() -> bool:
        status = found.get("smap", "app").get("status", {})
        return bool(status.get("endpoints", {}).get("summary") == summary)

    wait_for(told, what=f"app has {summary} healthy instances")
    found.wait_condition("smap/app", "Programmed", "Programmed")
    found.wait_true("nlb/edge", "Ready")


def holds_instances(found: Tenant) -> bool:
    """Whether the operator's successor will know instances without Consul."""
    return bool(decode_state(found.get("configmap", "edge-state")["binaryData"]).held)


def test_an_application_that_is_scaled_to_0_answers_503_within_two_seconds(
    cluster: Cluster, release: Release
):
    with edge(cluster, "scaled") as found:
        labels = {"app": "scaled"}
        template = {"metadata": {"labels": labels, "annotations": {"SERVICE_NAME": SERVICE}}}
        spec = {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {**template, "spec": pod_spec()},
        }
        metadata = {"name": "app", "namespace": "scaled"}
        cluster.kubectl.apply(
            [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}]
        )
        map_service(found, health={"onEmpty": "KeepLast"})
        wait_healthy(found, "3/3")
        address = address_of(found)
        assert status_of(address) == 200
        began = time.monotonic()
        found.kubectl("scale", "deployment/app", "--replicas=0")
        wait_for(lambda: status_of(address) == 503, what="nginx answers 503", interval=0.05)
        took = time.monotonic() - began
        print(f"503 after {took:.2f} s, with kubectl")
        assert took <= 2.0
        found.kubectl("delete", "deployment/app")


def restart_all_operators(release: Release) -> None:
    """No pod is left that knows anything."""
    leader = release.operator_pod()["metadata"]["name"]
    names = [pod["metadata"]["name"] for pod in release.operator_pods()]
    release.cluster.kubectl("delete", "pods", "-n", release.namespace, *names, "--now")
    release.wait_for_another_operator(leader)


def answers_after(sent: Traffic, count: int) -> None:
    """Wait until so many more requests were sent."""
    goal = sent.requests + count
    wait_for(lambda: sent.requests >= goal, what=f"{count} requests are sent")


@contextmanager
def consul_gone(cluster: Cluster, release: Release, found: Tenant) -> Iterator[None]:
    """Consul's servers are stopped, and no operator runs that ever heard of them."""
    scale_servers(cluster, 0)
    try:
        found.wait_condition("smap/app", "ResolvedRefs", "ConsulUnreachable")
        wait_for(lambda: holds_instances(found), what="the instances are remembered")
        restart_all_operators(release)
        yield
    finally:
        scale_servers(cluster, 3)


@pytest.mark.parametrize("case", ["silent", "restarted"])
def test_a_pod_with_the_address_of_one_that_is_gone_gets_none_of_its_requests(
    cluster: Cluster, release: Release, case: str
):
    """Silent: the operator waits for an answer of Consul's that never comes."""
    node = cluster.nodes[0]
    with (
        edge(cluster, f"reuse-{case}") as found,
        tenant(cluster=cluster, namespace=f"stranger-{case}") as stranger,
    ):
        old, _ = run_pods(found, "old", "stays", node=node, service=SERVICE)
        map_service(found, health={"onEmpty": "KeepLast"})
        wait_healthy(found, "2/2")
        away = cut_off(cluster) if case == "silent" else consul_gone(cluster, release, found)
        with traffic(address=address_of(found), host=HOST, path="/") as sent:
            wait_for(lambda: len(sent.by_pod) == 2, what="both pods answer")
            with away:
                found.kubectl("delete", "pod", "old", "--force", "--grace-period=0")
                give_next(node, old)
                assert run_pods(stranger, "stranger", node=node, service=None) == [old]
                answers_after(sent, 500)
                assert sent.pods_since(sent.elapsed() - 1.0) == {"stays"}
                if case == "restarted":
                    # These see nobody end; and when Consul is back, it has the old pod as it was.
                    restart_all_operators(release)
                    answers_after(sent, 200)
            found.wait_condition("smap/app", "ResolvedRefs", "ResolvedRefs", seconds=120)
            answers_after(sent, 200)
        assert "stranger" not in sent.by_pod


class Registered:
    """Instances in Consul's catalog that nobody checks: their status is what the test says."""

    def __init__(self, consul: str, addresses: dict[str, str]) -> None:
        self._consul = consul
        self._addresses = addresses

    def say(self, name: str, status: str) -> None:
        """Register an instance with this status."""
        service = {"ID": name, "Service": SERVICE, "Address": self._addresses[name], "Port": PORT}
        check = {"Node": NODE, "CheckID": name, "Name": name, "ServiceID": name, "Status": status}
        body = {"Node": NODE, "Address": "10.99.0.1", "Service": service, "Check": check}
        agent_request(self._consul, "PUT", "/v1/catalog/register", body)

    def deregister(self, name: str) -> None:
        """Take one instance out of the catalog."""
        where = {"Node": NODE, "ServiceID": name}
        agent_request(self._consul, "PUT", "/v1/catalog/deregister", where)

    def clear(self) -> None:
        """Take the node out of the catalog."""
        agent_request(self._consul, "PUT", "/v1/catalog/deregister", {"Node": NODE})


@contextmanager
def two_instances(found: Tenant) -> Iterator[Registered]:
    """Pods ``one`` and ``two``, which only the test registers, both passing."""
    node = found.cluster.nodes[0]
    names = ("one", "two")
    addresses = dict(zip(names, run_pods(found, *names, node=node, service=None), strict=True))
    registered = Registered(found.cluster.consul_address, addresses)
    try:
        for name in names:
            registered.say(name, "passing")
        yield registered
    finally:
        registered.clear()


def test_failed_instances_are_kept_for_their_age_over_a_restart_and_not_when_deregistered(
    cluster: Cluster, release: Release
):
    with edge(cluster, "kept") as found, two_instances(found) as registered:
        map_service(found, health={"onEmpty": "KeepLast"})
        wait_healthy(found, "2/2")
        address = address_of(found)
        with traffic(address=address, host=HOST, path="/") as sent:
            registered.say("one", "critical")
            registered.say("two", "critical")
            message = found.wait_condition("smap/app", "ResolvedRefs", "EndpointsKept")["message"]
            assert found.get("smap", "app")["status"]["endpoints"]["kept"] == 2
            restart_all_operators(release)
            answers_after(sent, 200)
            assert sent.pods_since(sent.elapsed() - 0.5) == {"one", "two"}
            assert not sent.failures, sent.explain()
            again = found.wait_condition("smap/app", "ResolvedRefs", "EndpointsKept")["message"]
            assert again == message, "until when they are kept does not depend on the operator"
        registered.deregister("one")
        registered.deregister("two")
        wait_for(lambda: status_of(address) == 503, what="nginx answers 503")
        map_service(found, health={"onEmpty": "KeepLast", "maxAge": "3s"})
        registered.say("one", "passing")
        wait_healthy(found, "1/1")
        registered.say("one", "critical")
        found.wait_condition("smap/app", "ResolvedRefs", "EndpointsKept")
        assert status_of(address) == 200
        found.wait_condition("smap/app", "ResolvedRefs", "NoHealthyEndpoints")
        assert status_of(address) == 503


def test_an_instance_that_flaps_rests_before_it_is_served_again(cluster: Cluster, release: Release):
    with edge(cluster, "flapping") as found, two_instances(found) as registered:
        map_service(found, health={"holdDown": "5s"})
        wait_healthy(found, "2/2")
        with traffic(address=address_of(found), host=HOST, path="/") as sent:
            registered.say("one", "critical")
            wait_healthy(found, "1/2")
            registered.say("one", "passing")
            began = sent.elapsed()

            def says_so() -> bool:
                now = found.condition("smap", "app", "ResolvedRefs")
                return "1 more must stay healthy" in now.get("message", "")

            wait_for(says_so, what="the condition says that one has to rest")
            answers_after(sent, 100)
            assert sent.pods_since(sent.elapsed() - 0.3) == {"two"}
            wait_for(
                lambda: sent.last_answer["one"] > sent.elapsed() - 0.3, what="one is served again"
            )
            assert sent.elapsed() - began >= 5.0
        assert not sent.failures, sent.explain()


def test_a_fallback_is_served_while_too_few_are_healthy(cluster: Cluster, release: Release):
    with edge(cluster, "fallback") as found, two_instances(found) as registered:
        [other] = run_pods(found, "other", node=cluster.nodes[0], service=None)
        map_service(found, health={"minHealthy": 2}, fallback=[{"address": other, "port": PORT}])
        wait_healthy(found, "2/2")
        address = address_of(found)

        def answering() -> str:
            return str(ask(address=address, host=HOST, path="/")[1]["pod"])

        assert answering() in {"one", "two"}
        registered.say("one", "critical")
        found.wait_condition("smap/app", "ResolvedRefs", "TooFewHealthy")
        wait_for(lambda: answering() == "other", what="the fallback is served")
        registered.say("one", "passing")
        wait_for(lambda: answering() in {"one", "two"}, what="the instances are served again")


def test_what_can_not_be_meant_is_refused_at_once(cluster: Cluster, release: Release):
    with tenant(cluster=cluster, namespace="refused") as found:
        for spec, words in (
            ({"health": {"include": ["warning"]}}, "include must have passing in it"),
            ({"health": {"onEmpty": "KeepLast", "holdTime": "5s"}}, "maxAge says for how long"),
            ({"health": {"onEmpty": "Fallback"}}, "needs spec.fallback"),
            (
                {"health": {"onEmpty": "Fail"}, "fallback": [{"address": "10.9.0.1", "port": 1}]},
                "spec.fallback is never used",
            ),
            (
                {"balancing": {"algorithm": "IPHash", "slowStart": "5s"}},
                "each step would move clients",
            ),
        ):
            with pytest.raises(Exception, match=words):
                map_service(found, **spec)
