"""How traffic gets to nginx, and what runs its pods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.sessions import datagram, session
from cluster.support.shop import HOST, TEST_SERVER_THRIFT
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

LEVEL = "pod-security.kubernetes.io/enforce"
WORKLOADS = ("deployment", "daemonset")
# Of nodes: free there, and no NodePorts.
HTTP_PORT, THRIFT_PORT, NETWORK_PORT = 18080, 18250, 18081
CONSUL_AGENT_PORT = 8500
LISTENERS = [
    {"name": "http", "port": HTTP_PORT},
    {"name": "thrift", "protocol": "TCP", "port": THRIFT_PORT},
    {"name": "thrift-udp", "protocol": "UDP", "port": THRIFT_PORT},
]


@pytest.fixture(scope="module")
def privileged(cluster: Cluster, installed_shop: Shop) -> Iterator[Tenant]:
    """A namespace whose pods may have ports of nodes."""
    with tenant(cluster=cluster, namespace="ports", **{LEVEL: "privileged"}) as found:
        yield found


@pytest.fixture(scope="module")
def restricted(cluster: Cluster, installed_shop: Shop) -> Iterator[Tenant]:
    """A namespace whose pods may not."""
    with tenant(cluster=cluster, namespace="strict", **{LEVEL: "restricted"}) as found:
        yield found


def node_addresses(cluster: Cluster) -> list[str]:
    path = "{.items[*].status.addresses[?(@.type=='InternalIP')].address}"
    return sorted(cluster.kubectl("get", "nodes", "-o", f"jsonpath={path}").split())


def answers(probe: Callable[[], object]) -> bool:
    try:
        return bool(probe())
    except (OSError, EOFError, ValueError):
        return False


def http_answers(address: str) -> bool:
    return answers(lambda: ask(address=address, host=HOST, path="/features")[0] == 200)


def tcp_answers(address: str) -> bool:
    def say() -> bool:
        with session(address) as opened:
            return bool(opened.say("hello")["said"] == "hello")

    return answers(say)


def udp_answers(address: str) -> bool:
    return answers(lambda: datagram(address, "hello")["said"] == "hello")


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)


def is_settled(found: Tenant, name: str, *, workload: str, pods: int) -> bool:
    """One workload is left, and each of its pods serves what it should."""
    data_plane = found.get("nlb", name).get("status", {}).get("dataPlane", {})
    workloads = [
        kind
        for kind in WORKLOADS
        for item in found.cluster.read.all(kind, namespace=found.namespace)
        if item["metadata"]["name"] == name
    ]
    return (
        workloads == [workload]
        and [is_ready(pod) for pod in found.pods(name)] == [True] * pods
        and [data_plane.get(key) for key in ("desired", "ready", "updated")] == [pods] * 3
    )


def test_deployment_and_daemon_set_follow_each_other_without_a_failed_request(
    cluster: Cluster, shop: Shop
):
    def run_as(kind: str) -> None:
        patch = json.dumps({"spec": {"deployment": {"kind": kind}}})
        cluster.kubectl("patch", "-n", "shop", "nlb/edge", "--type=merge", "-p", patch)

    def workloads() -> list[str]:
        labels = "consul-nginx.dev/load-balancer=edge"
        return [
            f"{kind}/{item['metadata']['name']}"
            for kind in (*WORKLOADS, "poddisruptionbudget")
            for item in cluster.read.all(kind, namespace="shop", labels=labels)
        ]

    def runs(expected: list[str], pods: int) -> bool:
        data_plane = shop.get("nlb", "edge")["status"]["dataPlane"]
        return (
            workloads() == expected
            and len(shop.nginx_pods()) == pods
            and data_plane["desired"] == data_plane["updated"] == pods
        )

    nodes = len(node_addresses(cluster))
    with traffic(address=shop.address, host=HOST) as sent:
        try:
            run_as("DaemonSet")
            wait_for(
                lambda: runs(["daemonset/edge"], nodes),
                what="a DaemonSet is left, with a pod per node",
            )
        finally:
            run_as("Deployment")
        wait_for(
            lambda: runs(["deployment/edge", "poddisruptionbudget/edge"], 2),
            what="a Deployment is left, with its budget",
        )
        cluster.kubectl("rollout", "status", "-n", "shop", "deployment/edge", "--timeout=60s")
    assert not sent.failures, sent.explain()
    assert sent.requests > 200


def map_all(found: Tenant, load_balancer: str) -> None:
    found.mapping(
        f"{load_balancer}-web",
        loadBalancerRef={"name": load_balancer},
        listener="http",
        backends=[{"service": "my-web-server"}],
    )
    for listener in ("thrift", "thrift-udp"):
        found.mapping(
            f"{load_balancer}-{listener}",
            loadBalancerRef={"name": load_balancer},
            listener=listener,
            backends=[{"service": TEST_SERVER_THRIFT}],
        )


def test_from_a_service_to_host_ports_of_every_node(
    cluster: Cluster, shop: Shop, privileged: Tenant
):
    nodes, spec = node_addresses(cluster), {"listeners": LISTENERS}
    privileged.load_balancer("edge", **spec)
    map_all(privileged, "edge")
    privileged.wait_true("nlb/edge", "Ready")
    service = privileged.get("service", "edge")["spec"]["clusterIP"]
    wait_for(lambda: http_answers(f"{service}:{HTTP_PORT}"), what="the Service answers")

    privileged.load_balancer("edge", **spec, access="HostPort")
    wait_for(lambda: "service/edge" not in privileged.names("services"), what="no Service is left")
    hosts = sorted(pod["status"]["hostIP"] for pod in privileged.pods("edge"))
    for address in hosts:
        assert http_answers(f"{address}:{HTTP_PORT}"), "it went before the ports were there"
    wait_for(
        lambda: privileged.get("nlb", "edge")["status"]["addresses"] == hosts,
        what="addresses are those of the pods' nodes",
    )

    privileged.load_balancer("edge", **spec, access="HostPort", deployment={"kind": "DaemonSet"})
    wait_for(
        lambda: is_settled(privileged, "edge", workload="daemonset", pods=len(nodes)),
        what="a DaemonSet took over the ports",
    )
    for address in nodes:
        assert http_answers(f"{address}:{HTTP_PORT}")
        assert tcp_answers(f"{address}:{THRIFT_PORT}")
        assert udp_answers(f"{address}:{THRIFT_PORT}")
    assert privileged.get("nlb", "edge")["status"]["addresses"] == nodes
    assert privileged.names("services") == []
    privileged.kubectl("delete", "nlb/edge")


def on_the_network(*more: dict[str, Any]) -> dict[str, Any]:
    return {
        "access": "HostNetwork",
        "deployment": {"kind": "DaemonSet"},
        "listeners": [
            {"name": "http", "port": NETWORK_PORT},
            *({**listener, "port": listener["port"] + 100} for listener in LISTENERS[1:]),
            *more,
        ],
    }


def test_in_the_network_of_every_node_and_a_port_that_is_taken_there(
    cluster: Cluster, shop: Shop, privileged: Tenant
):
    nodes = node_addresses(cluster)
    privileged.load_balancer("net", **on_the_network())
    map_all(privileged, "net")
    wait_for(
        lambda: is_settled(privileged, "net", workload="daemonset", pods=len(nodes)),
        what="nginx runs on each node",
    )
    privileged.wait_true("smap/net-web", "Programmed")
    for address in nodes:
        assert http_answers(f"{address}:{NETWORK_PORT}")
        assert tcp_answers(f"{address}:{THRIFT_PORT + 100}")
        assert udp_answers(f"{address}:{THRIFT_PORT + 100}")
    assert privileged.get("nlb", "net")["status"]["addresses"] == nodes

    taken = {"name": "taken", "port": CONSUL_AGENT_PORT}
    with traffic(address=f"{nodes[0]}:{NETWORK_PORT}", host=HOST) as sent:
        privileged.load_balancer("net", **on_the_network(taken))
        found = privileged.wait_condition("nlb/net", "Programmed", "Rejected")
        assert f"bind() to 0.0.0.0:{CONSUL_AGENT_PORT} failed" in found["message"]
        assert "Address already in use" in found["message"]
        assert privileged.condition("nlb", "net", "Ready")["status"] == "False"
        privileged.load_balancer("net", **on_the_network())
        privileged.wait_true("nlb/net", "Ready")
    assert not sent.failures, sent.explain()
    privileged.kubectl("delete", "nlb/net")


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
@pytest.mark.parametrize("access", ["HostPort", "HostNetwork"])
def test_where_pod_security_refuses_the_pods_it_is_told_with_a_way_out(
    restricted: Tenant, kind: str, access: str
):
    name = f"{kind}-{access}".lower()
    restricted.load_balancer(
        name, access=access, deployment={"kind": kind}, listeners=[LISTENERS[0]]
    )
    message = restricted.wait_condition(f"nlb/{name}", "Programmed", "Refused")["message"]
    for words in (
        f"{kind} {name}",
        'violates PodSecurity "restricted:latest"',
        "hostPort" if access == "HostPort" else "hostNetwork=true",
        "pod-security.kubernetes.io/enforce=privileged",
    ):
        assert words in message
    assert restricted.condition("nlb", name, "Ready")["message"] == message
    assert "Refused" in restricted.kubectl("describe", f"nlb/{name}").partition("Events:")[2]
    restricted.kubectl("delete", f"nlb/{name}", "--wait=false")


def test_an_edit_that_pod_security_refuses_leaves_service_and_pods(shop: Shop, restricted: Tenant):
    spec = {"listeners": [LISTENERS[0]]}
    restricted.load_balancer("edited", **spec)
    restricted.mapping(
        "edited",
        loadBalancerRef={"name": "edited"},
        listener="http",
        backends=[{"service": "my-web-server"}],
    )
    restricted.wait_true("nlb/edited", "Ready")
    address = f"{restricted.get('service', 'edited')['spec']['clusterIP']}:{HTTP_PORT}"
    wait_for(lambda: http_answers(address), what="the Service answers")
    with traffic(address=address, host=HOST) as sent:
        restricted.load_balancer("edited", **spec, access="HostPort")
        restricted.wait_condition("nlb/edited", "Ready", "Refused")
        restricted.load_balancer("edited", **spec)
        restricted.wait_true("nlb/edited", "Ready")
    assert not sent.failures, sent.explain()
