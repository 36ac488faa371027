"""Printer columns, conditions, metrics, health: where people look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.support.shop import AGENT_PORT, fetch

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


def test_one_look_answers_does_it_work(cluster: Cluster, shop: Shop):
    said = cluster.kubectl("get", "-n", "shop", "consul-nginx")
    lines = {line.split()[0]: line.split() for line in said.splitlines() if "/" in line}
    load_balancer = lines["loadbalancer.consul-nginx.dev/edge"]
    assert load_balancer[1:4] == ["True", "2/2", "1"]
    mapping = lines["servicemapping.consul-nginx.dev/features"]
    assert mapping[1] == "edge"
    assert mapping[3:] != []
    assert "3/3" in mapping


@pytest.mark.parametrize(
    ("kind", "name", "conditions"),
    [
        ("nlb", "edge", {"Accepted", "Programmed", "Ready", "ResolvedRefs"}),
        ("smap", "features", {"Accepted", "Programmed", "ResolvedRefs"}),
    ],
)
def test_conditions_hold_for_the_present_generation(shop: Shop, kind, name, conditions):
    found = shop.get(kind, name)
    assert {item["type"] for item in found["status"]["conditions"]} == conditions
    for item in found["status"]["conditions"]:
        assert item["status"] == "True", item
        assert item["observedGeneration"] == found["metadata"]["generation"]
        assert item["reason"]
        assert item["message"]


@pytest.mark.parametrize("field", ["nlb.spec.listeners.port", "smap.spec.backends.service"])
def test_explain_has_a_sentence_for_a_field(cluster: Cluster, shop: Shop, field: str):
    assert "DESCRIPTION" in cluster.kubectl("explain", field)


def test_the_operator_has_metrics_and_health(release: Release, shop: Shop):
    base = f"http://{release.operator_pod()['status']['podIP']}:8080"
    assert fetch(f"{base}/healthz") == fetch(f"{base}/readyz") == "ok\n"
    metrics = fetch(f"{base}/metrics")
    assert 'consul_nginx_reconciles_total{flow="apply",outcome="success"}' in metrics
    assert 'outcome="bug"' not in metrics
    assert (
        'consul_nginx_mapping_endpoints{name="features",namespace="shop",state="healthy"} 3.0'
        in (metrics)
    )
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
        assert "nginx_connections" in metrics or "consul_nginx_agent_nginx" in metrics
