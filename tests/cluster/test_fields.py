"""Golden folders about pods on a real cluster: every field of theirs has its effect."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.api import api
from cluster.support.consul_api import maintain
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from unit.features import manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

HOST = "shop.example.com"
EDGE = "example.com/edge"
# A timer of an event loop may be early by the clock's resolution.
EARLY_MS = 10


@pytest.fixture(scope="module")
def feature(cluster: Cluster, installed_shop: Shop) -> Iterator[Callable[[str], Tenant]]:
    """Applies a folder's manifest in a namespace of its own, where pods may have nodes' ports."""
    level = {"pod-security.kubernetes.io/enforce": "privileged"}
    with ExitStack() as stack:

        def apply(name: str) -> Tenant:
            found = stack.enter_context(tenant(cluster=cluster, namespace=f"test-{name}", **level))
            for raw in manifests(name):
                write = found.load_balancer if raw["kind"] == "LoadBalancer" else found.mapping
                write(raw["metadata"]["name"], **raw["spec"])
            found.wait_true("nlb/edge", "Ready")
            found.wait_true("smap/features", "Programmed")
            return found

        yield apply


@pytest.fixture(scope="module")
def edge_node(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """A node for the edge only, and a priority for its pods."""
    priority = {"name": "edge"}
    cluster.kubectl.apply(
        [
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": priority,
                "value": 1000,
            }
        ]
    )
    node: dict[str, Any] = nodes(cluster)[-1]
    name = node["metadata"]["name"]
    cluster.kubectl("label", "node", name, f"{EDGE}=true")
    cluster.kubectl("taint", "node", name, f"{EDGE}=only:NoSchedule")
    yield node
    cluster.kubectl("taint", "node", name, f"{EDGE}-")
    cluster.kubectl("label", "node", name, f"{EDGE}-")
    cluster.kubectl("delete", "priorityclass", "edge")


@pytest.fixture(scope="module")
def pods(edge_node: dict[str, Any], feature: Callable[[str], Tenant]) -> Tenant:
    return feature("pods")


def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return found


def address(node: dict[str, Any]) -> str:
    [found] = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
    return str(found)


def answers(where: str) -> bool:
    try:
        return ask(address=where, host=HOST, path="/features")[0] == 200
    except OSError:
        return False


def read(found: Tenant, pod: str, *files: str) -> list[str]:
    """Files that the nginx of a pod sees."""
    script = "import sys; [print(open(name).read(), end='\\0') for name in sys.argv[1:]]"
    python = "/opt/consul-nginx/bin/python"
    text = found.kubectl("exec", pod, "-c", "nginx", "--", python, "-c", script, *files)
    return text.split("\0")[:-1]


def test_what_is_said_of_the_pods_is_so(edge_node: dict[str, Any], pods: Tenant):
    found = pods.pods("edge")
    assert len(found) == 3
    for pod in found:
        spec = pod["spec"]
        assert spec["nodeName"] == edge_node["metadata"]["name"]
        assert pod["metadata"]["labels"]["team"] == "edge"
        assert pod["metadata"]["annotations"]["example.com/owner"] == "the edge team"
        assert (spec["priorityClassName"], spec["priority"]) == ("edge", 1000)
        kept = {"key": EDGE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600}
        assert kept in spec["tolerations"]
        assert spec["containers"][0]["resources"] == {
            "requests": {"cpu": "20m", "memory": "48Mi"},
            "limits": {"cpu": "2", "memory": "256Mi"},
        }
        # preStop, shutdownTimeout and 5 s more.
        assert spec["terminationGracePeriodSeconds"] == 5 + 20 + 5
    [configuration] = read(
        pods, found[0]["metadata"]["name"], "/run/consul-nginx/nginx/current/nginx.conf"
    )
    assert "worker_shutdown_timeout 20s;" in configuration
    assert "keepalive_min_timeout 3s;" in configuration


def test_what_is_said_of_the_service_is_so_and_of_consul(edge_node: dict[str, Any], pods: Tenant):
    service = pods.get("service", "edge")
    assert service["metadata"]["annotations"]["example.com/load-balancer"] == "internal"
    assert service["spec"]["type"] == "NodePort"
    port = service["spec"]["ports"][0]["nodePort"]
    for where in (f"{address(edge_node)}:{port}", f"{service['spec']['clusterIP']}:80"):
        wait_for(lambda at=where: answers(at), what=f"{where} answers")
    message = pods.condition("smap", "features", "ResolvedRefs")["message"]
    assert "3 of 3 instances of my-web-server@dc1" in message


async def writes(*, cluster: Cluster, found: Tenant, shop: Shop, count: int) -> list[int]:
    """When bundles were written, in milliseconds, while an instance comes and goes all the time.

    The first is the one that was there before.
    """
    instance = next(iter(shop.instances().values()))
    seen: list[int] = []

    def event(_: float, told: dict[str, Any]) -> None:
        if told["object"]["metadata"]["name"] == "edge-config":
            seen.append(json.loads(told["object"]["data"]["manifest.json"])["revision"])

    path = f"/api/v1/namespaces/{found.namespace}/configmaps"
    async with api(cluster) as connections, connections.watching(path, event):
        async with asyncio.timeout(60):
            while len(set(seen)) <= count:
                for enable in (True, False):
                    await asyncio.to_thread(maintain, instance.agent, instance.id, enable=enable)
    return sorted(set(seen))


def gaps(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


async def test_reloads_are_never_closer_than_the_least_interval(
    cluster: Cluster, pods: Tenant, shop: Shop
):
    ip = pods.get("service", "edge")["spec"]["clusterIP"]
    with traffic(address=f"{ip}:80", host=HOST) as sent:
        written = gaps(await writes(cluster=cluster, found=pods, shop=shop, count=3))
    assert min(written) >= 4000 - EARLY_MS, written
    assert not sent.failures, sent.explain()


async def test_changes_without_end_are_gathered_and_go_out_nevertheless(
    cluster: Cluster, pods: Tenant, shop: Shop
):
    """Were there only the quiet period, nothing went out before it is quiet."""
    pods.kubectl(
        "patch", "nlb/edge", "--type=merge", '--patch={"spec": {"reload": {"minInterval": "0s"}}}'
    )
    pods.wait_true("nlb/edge", "Ready")
    written = gaps(await writes(cluster=cluster, found=pods, shop=shop, count=4))
    # The one before may be of any time; from the first of these on, changes come all the time.
    assert min(written[1:]) >= 300 - EARLY_MS, written


def test_each_node_has_a_pod_with_its_port_whatever_its_taints(
    cluster: Cluster, edge_node: dict[str, Any], feature: Callable[[str], Tenant]
):
    found = feature("nodes")
    everywhere = nodes(cluster)
    wait_for(
        lambda: (
            {pod["spec"].get("nodeName") for pod in found.pods("edge")}
            == {node["metadata"]["name"] for node in everywhere}
        ),
        what="each node has a pod",
    )
    for where in (f"{address(node)}:18082" for node in everywhere):
        wait_for(lambda at=where: answers(at), what=f"{where} answers")
    assert found.names("services,deployments") == []
