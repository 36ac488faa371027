"""Printer columns, conditions, metrics, health: where people look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.support.shop import AGENT_PORT, fetch
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


def test_one_look_answers_does_it_work(cluster: Cluster, shop: Shop):
    def words(name: str) -> list[str]:
        said = cluster.kubectl("get", "-n", "shop", "consul-nginx", "--no-headers")
        return next(line.split() for line in said.splitlines() if line.startswith(name))

    wait_for(
        lambda: words("loadbalancer.consul-nginx.dev/edge")[1:4] == ["True", "2/2", "4"],
        what="the LoadBalancer's line says Ready, 2/2 pods, 4 mappings",
    )
    mapping = ["edge", '["shop.example.com"]', "/features", "my-web-server", "3/3", "True", "True"]
    wait_for(
        lambda: words("servicemapping.consul-nginx.dev/features")[1:8] == mapping,
        what="the mapping's line says where it leads and 3/3",
    )


@pytest.mark.parametrize(
    ("kind", "name", "conditions"),
    [
        ("nlb", "edge", {"Accepted", "Programmed", "Ready", "ResolvedRefs"}),
        ("smap", "features", {"Accepted", "Programmed", "ResolvedRefs"}),
    ],
)
def test_conditions_hold_for_the_present_generation(shop: Shop, kind, name, conditions):
    def all_hold() -> bool:
        found = shop.get(kind, name)
        items = found["status"]["conditions"]
        return {item["type"] for item in items} == conditions and all(
            item["status"] == "True"
            and item["observedGeneration"] == found["metadata"]["generation"]
            and item["reason"]
            and item["message"]
            for item in items
        )

    wait_for(all_hold, what=f"all conditions of {name} hold")


@pytest.mark.parametrize("field", ["nlb.spec.listeners.port", "smap.spec.backends.service"])
def test_explain_has_a_sentence_for_a_field(cluster: Cluster, shop: Shop, field: str):
    assert "DESCRIPTION" in cluster.kubectl("explain", field)


def test_the_operator_has_metrics_and_health(release: Release, shop: Shop):
    base = f"http://{release.operator_pod()['status']['podIP']}:8080"
    assert fetch(f"{base}/healthz") == fetch(f"{base}/readyz") == "ok\n"
    healthy = 'mapping_endpoints{name="features",namespace="shop",state="healthy"} 3.0'
    wait_for(lambda: healthy in fetch(f"{base}/metrics"), what="3 healthy endpoints are counted")
    metrics = fetch(f"{base}/metrics")
    assert 'consul_nginx_reconciles_total{flow="apply",outcome="success"}' in metrics
    assert 'outcome="bug"' not in metrics
    for name in ("consul_nginx_configmap_writes_total", "consul_nginx_consul_watches",
                 "workqueue_depth", "consul_nginx_event_loop_lag_seconds",
                 "consul_nginx_build_info"):  # fmt: skip
        assert f"\n{name}" in metrics


def test_every_nginx_pod_has_metrics_and_health(shop: Shop):
    for pod in shop.nginx_pods():
        base = f"http://{pod['status']['podIP']}:{AGENT_PORT}"
        for path in ("/healthz", "/startedz", "/readyz"):
            fetch(f"{base}{path}")
        metrics = fetch(f"{base}/metrics")
        assert "consul_nginx_agent_reloads_total" in metrics
        assert "consul_nginx_agent_nginx_connections" in metrics
