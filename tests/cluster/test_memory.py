"""The promised limits of memory, with a hundred services: measured on the machine below the nodes.

``pytest -s`` prints the figures of docs/measurements.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.consul_api import agent_request
from cluster.support.machine import memory_kb, process_of
from cluster.support.tenant import API_VERSION, Tenant, tenant
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

SERVICES, INSTANCES = 100, 3
NODE = "memory-test"
LIMITS_KB = {"operator": 150_000, "agent": 60_000, "supervisor": 20_000}
COMMANDS = {
    "operator": "consul_nginx.cli",
    "agent": "consul_nginx.agent",
    "supervisor": "consul_nginx.agent.supervisor",
}


def register(consul: str) -> None:
    """Enter the services in the catalog, as those of a node without an agent."""
    for service in range(SERVICES):
        for number in range(INSTANCES):
            agent_request(
                consul,
                "PUT",
                "/v1/catalog/register",
                {
                    "Node": NODE,
                    "Address": "10.99.0.1",
                    "SkipNodeUpdate": bool(service or number),
                    "Service": {
                        "ID": f"many-{service}-{number}",
                        "Service": f"many-{service}",
                        "Address": f"10.99.{service}.{number + 1}",
                        "Port": 8080,
                    },
                },
            )


@pytest.fixture
def many(cluster: Cluster, release: Release, installed_shop: Shop) -> Iterator[Tenant]:
    """A LoadBalancer with a mapping for each of a hundred services."""
    consul = cluster.consul_address
    with tenant(cluster=cluster, namespace="many") as found:
        try:
            register(consul)
            found.load_balancer(
                "edge", listeners=[{"name": "http", "port": 80}], deployment={"replicas": 1}
            )
            cluster.kubectl.apply([mapping(number) for number in range(SERVICES)])
            yield found
        finally:
            agent_request(consul, "PUT", "/v1/catalog/deregister", {"Node": NODE})


def mapping(number: int) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceMapping",
        "metadata": {"name": f"many-{number}", "namespace": "many"},
        "spec": {
            "loadBalancerRef": {"name": "edge"},
            "listener": "http",
            "hostnames": [f"many-{number}.example.com"],
            "backends": [{"service": f"many-{number}"}],
        },
    }


def all_programmed(found: Tenant) -> bool:
    items = json.loads(found.kubectl("get", "smap", "-o", "json"))["items"]
    return len(items) == SERVICES and all(
        item.get("status", {}).get("endpoints", {}).get("healthy") == INSTANCES
        and any(
            (condition["type"], condition["status"]) == ("Programmed", "True")
            for condition in item["status"]["conditions"]
        )
        for item in items
    )


def test_memory_stays_within_its_limits(release: Release, many: Tenant):
    wait_for(lambda: all_programmed(many), what="all mappings are programmed", seconds=90)
    leader = release.operator_pod()
    [nginx] = many.pods("edge")
    pods = {"operator": leader, "agent": nginx, "supervisor": nginx}
    figures = {name: memory_kb(process_of(pods[name], module)) for name, module in COMMANDS.items()}
    print(f"{SERVICES} services x {INSTANCES}, kB: {figures}")
    for name, limit in LIMITS_KB.items():
        assert figures[name]["now"] <= limit, name
