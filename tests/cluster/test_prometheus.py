"""A real Prometheus finds operator and agents by the chart's monitors, and gets real figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.harness.commands import run
from cluster.harness.prometheus import programs
from cluster.harness.settings import REPOSITORY
from cluster.support.prometheus import Prometheus, prometheus
from cluster.support.release import NAMESPACE
from cluster.support.shop import HOST, fetch
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

AGENT = 'load_balancer="edge",namespace="shop"'


@pytest.fixture(scope="module")
def monitors(release: Release) -> list[dict[str, Any]]:
    flags = ("--set=metrics.serviceMonitor.enabled=true", "--set=metrics.podMonitor.enabled=true")
    kinds = ("ServiceMonitor", "PodMonitor")
    return [item for item in release.render(*flags) if item["kind"] in kinds]


@pytest.fixture(scope="module")
def prom(
    cluster: Cluster,
    installed_shop: Shop,
    monitors: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(cluster=cluster, monitors=monitors, folder=folder) as running:
        yield running


@pytest.fixture
def expositions(release: Release, shop: Shop) -> dict[str, str]:
    operator = release.operator_pod()["status"]["podIP"]
    agent = shop.nginx_pods()[0]["status"]["podIP"]
    return {
        "operator": fetch(f"http://{operator}:8080/metrics"),
        "agent": fetch(f"http://{agent}:9901/metrics"),
    }


def test_the_operator_and_every_agent_are_found_and_scraped(
    prom: Prometheus, release: Release, shop: Shop
):
    expected = {
        *((NAMESPACE, pod["metadata"]["name"], "operator") for pod in release.operator_pods()),
        *(("shop", pod["metadata"]["name"], "agent") for pod in shop.nginx_pods()),
    }

    def found() -> bool:
        targets = prom.targets()
        seen = {
            (labels["namespace"], labels["pod"], labels["container"])
            for labels in (target["labels"] for target in targets)
        }
        return seen == expected and {target["health"] for target in targets} == {"up"}

    wait_for(found, what=f"targets are up: {expected}")


def test_an_instance_that_goes_is_seen_from_consul_to_the_reload(
    prom: Prometheus, release: Release, shop: Shop
):
    # Series of pods that are gone end while this looks: only those of the present ones are summed.
    leader = release.operator_pod()["metadata"]["name"]
    pods = "|".join(pod["metadata"]["name"] for pod in shop.nginx_pods())
    writes = f'sum(consul_nginx_configmap_writes_total{{pod="{leader}"}})'
    which = f'{AGENT},pod=~"{pods}",reason="endpoints",result="success"'
    reloads = f"consul_nginx_agent_reloads_total{{{which}}}"
    healthy = 'consul_nginx_mapping_endpoints{namespace="shop",name="features",state="healthy"}'
    prom.wait_true(f"{healthy} == 3")
    prom.wait_true(f"{writes} >= 0")
    writes_before, reloads_before = prom.value(writes), sum(prom.values(reloads))
    victim = shop.app_pods()[0]["metadata"]["name"]
    shop.take_out(victim)
    prom.wait_true(f"{healthy} == 2")
    prom.wait_true(f"{writes} > {writes_before}")
    prom.wait_true(f"sum({reloads}) >= {reloads_before + len(shop.nginx_pods())}")
    age = prom.value("max(consul_nginx_consul_data_age_seconds)")
    assert 0 <= age < 320


def test_of_two_operators_one_leads_and_tells_of_objects(
    prom: Prometheus, release: Release, shop: Shop
):
    lead = "leader_election_master_status"
    endpoints = 'consul_nginx_mapping_endpoints{name="features",state="healthy"}'
    leader = release.operator_pod()["metadata"]["name"]
    prom.wait_true(f"count({lead}) == 2 and sum({lead}) == 1")
    prom.wait_true(f'{lead}{{name="consul-nginx-operator",pod="{leader}"}} == 1')
    prom.wait_true(f'count({endpoints}) == 1 and on () {lead}{{pod="{leader}"}} == 1')


def test_requests_of_clients_are_counted_by_load_balancer(prom: Prometheus, shop: Shop):
    requests = f"sum(consul_nginx_agent_nginx_requests_total{{{AGENT}}})"
    prom.wait_true(f"{requests} >= 0")
    before = prom.value(requests)
    for _ in range(20):
        assert ask(address=shop.address, host=HOST, path="/features")[0] == 200
    prom.wait_true(f"{requests} >= {before + 20}")


@pytest.mark.parametrize(
    "expression",
    [
        'consul_nginx_reconciles_total{flow="apply",outcome="success"} > 0',
        'consul_nginx_reconciles_total{flow="report",outcome="success"} > 0',
        'workqueue_adds_total{name="apply"} > 0',
        'workqueue_work_duration_seconds_count{name="report"} > 0',
        'rest_client_requests_total{code="200",method="GET"} > 0',
        'rest_client_request_duration_seconds_count{verb="GET"} > 0',
        'consul_nginx_consul_requests_total{endpoint="health",mode="immediate",outcome="success"}'
        " > 0",
        "consul_nginx_consul_watches > 0",
        "consul_nginx_consul_watches_failing == 0",
        "consul_nginx_event_loop_lag_seconds_count > 0",
        "consul_nginx_build_info == 1",
        "consul_nginx_agent_build_info == 1",
    ],
)
def test_real_values_arrive(prom: Prometheus, shop: Shop, expression: str):
    prom.wait_true(expression)


def test_a_rejected_object_is_counted_as_long_as_it_is_there(
    prom: Prometheus, cluster: Cluster, shop: Shop
):
    rejected = 'consul_nginx_rejected_objects{kind="ServiceMapping",reason="NoMatchingListener"}'
    mapping = {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "ServiceMapping",
        "metadata": {"name": "rejected", "namespace": "shop"},
        "spec": {
            "loadBalancerRef": {"name": "edge"},
            "listener": "none",
            "backends": [{"service": "my-web-server"}],
        },
    }
    cluster.kubectl.apply([mapping])
    try:
        prom.wait_true(f"{rejected} == 1")
    finally:
        cluster.kubectl("delete", "-n", "shop", "smap/rejected")
    prom.wait_true(f"absent({rejected})")


def test_series_of_a_mapping_go_with_it(prom: Prometheus, cluster: Cluster, shop: Shop):
    series = 'consul_nginx_mapping_endpoints{namespace="shop",name="passing-by",state="healthy"}'
    mapping = {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "ServiceMapping",
        "metadata": {"name": "passing-by", "namespace": "shop"},
        "spec": {
            "loadBalancerRef": {"name": "edge"},
            "listener": "http",
            "hostnames": ["passing-by.example.com"],
            "backends": [{"service": "my-web-server"}],
        },
    }
    cluster.kubectl.apply([mapping])
    try:
        prom.wait_true(f"{series} == 3")
    finally:
        cluster.kubectl("delete", "-n", "shop", "smap/passing-by")
    prom.wait_true(f"absent({series})")


@pytest.mark.parametrize("source", ["operator", "agent"])
def test_promtool_has_nothing_against_the_metrics(
    cluster: Cluster, expositions: dict[str, str], source: str
):
    promtool = programs(cluster.settings) / "promtool"
    done = run([promtool, "check", "metrics"], stdin=expositions[source], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("source", ["operator", "agent"])
def test_what_is_exposed_is_documented(expositions: dict[str, str], source: str):
    page = (REPOSITORY / "docs/reference/metrics.md").read_text(encoding="utf-8")
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(expositions[source])
    }
    assert len(names) > 10
    assert not [name for name in names if f"| `{name}` |" not in page]


def test_the_queries_of_the_documentation_are_queries_of_metrics_that_exist(
    prom: Prometheus, shop: Shop
):
    text = (REPOSITORY / "docs/tasks.md").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs/reference/metrics.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```promql\n(.*?)```", text, flags=re.DOTALL)
    queries = block.strip().split("\n\n")
    assert len(queries) == 10
    for query in queries:
        prom.values(query)
        names = re.findall(r"consul_nginx_\w+|leader_election_\w+", query)
        assert names
        assert not [name for name in names if f"| `{name}` |" not in page]
