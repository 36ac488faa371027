"""What Prometheus would read: a few metrics of the operator that leads, and of one nginx pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.harness.report import heading
from cluster.support.shop import AGENT_PORT, fetch

if TYPE_CHECKING:
    from cluster.support.release import Release
    from cluster.support.shop import Shop

OF_OPERATOR = (
    "leader_election_master_status",
    "consul_nginx_mapping_endpoints",
    "consul_nginx_configmap_writes_total",
    'consul_nginx_reconciles_total{flow="apply",outcome="success"}',
    "consul_nginx_consul_watches ",
)
OF_NGINX = (
    "consul_nginx_agent_nginx_requests_total",
    "consul_nginx_agent_nginx_connections_active",
    "consul_nginx_agent_reloads_total",
    "consul_nginx_agent_rejected ",
)


def show_metrics(shop: Shop, release: Release) -> None:
    """A short selection; docs/reference/metrics.md has all."""
    pod = release.operator_pod()
    heading(f"\nMetrics of the operator that leads, {pod['metadata']['name']}")
    show(f"http://{pod['status']['podIP']}:8080/metrics", OF_OPERATOR)
    pod = shop.nginx_pods()[0]
    heading(f"\nMetrics of nginx in {pod['metadata']['name']}")
    show(f"http://{pod['status']['podIP']}:{AGENT_PORT}/metrics", OF_NGINX)


def show(url: str, wanted: tuple[str, ...]) -> None:
    """Print the samples that begin like one of ``wanted``, values aligned."""
    rows = [row.rsplit(" ", 1) for row in fetch(url).splitlines() if row.startswith(wanted)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {float(value):>8,.0f}")
