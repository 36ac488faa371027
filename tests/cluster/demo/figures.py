"""What Prometheus would read: a few metrics of the operator that leads, and of one nginx pod."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cluster.harness.report import heading
from cluster.support.shop import AGENT_PORT, fetch

if TYPE_CHECKING:
    from cluster.support.release import Release
    from cluster.support.shop import Shop

OF_OPERATOR = (
    "leader_election_master_status",
    "consul_nginx_consul_watches ",
    'consul_nginx_mapping_endpoints{.*state="healthy"',
    'consul_nginx_reconciles_total{flow="apply",outcome="success"}',
    "consul_nginx_configmap_writes_total",
)
OF_NGINX = (
    "consul_nginx_agent_nginx_requests_total",
    "consul_nginx_agent_nginx_connections_active",
    "consul_nginx_agent_reloads_total",
    "consul_nginx_agent_rejected ",
)


def show_metrics(shop: Shop, release: Release) -> None:
    """A short selection; docs/reference/metrics.md has all."""
    heading("\nMetrics of the operator that leads")
    show_of_operator(release, *OF_OPERATOR)
    pod = min(shop.nginx_pods(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    heading(f"\nMetrics of nginx in {pod['metadata']['name']}")
    show(f"http://{pod['status']['podIP']}:{AGENT_PORT}/metrics", OF_NGINX)


def show_of_operator(release: Release, *wanted: str) -> None:
    """Samples of the leader that begin like these patterns."""
    show(f"http://{release.operator_pod()['status']['podIP']}:8080/metrics", wanted)


def show(url: str, wanted: tuple[str, ...]) -> None:
    """Print samples in the order of ``wanted``, values aligned."""
    found = fetch(url).splitlines()
    rows = [row.rsplit(" ", 1) for text in wanted for row in found if re.match(text, row)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {float(value):>8,.0f}")
