"""The operator is killed, replaced, uninstalled: nginx does not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.support.release import NAMESPACE
from cluster.support.shop import HOST, fetch
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


def transition_times(shop: Shop) -> list[tuple[str, str]]:
    conditions = shop.get("nlb", "edge")["status"]["conditions"]
    return [(item["type"], item["lastTransitionTime"]) for item in conditions]


def data_plane_versions(shop: Shop) -> dict[str, str]:
    kinds = ("configmap/edge-config", "deployment/edge", "service/edge", "serviceaccount/edge",
             "role/edge", "rolebinding/edge")  # fmt: skip
    return {
        kind: str(shop.get(*kind.split("/"))["metadata"]["generation"])
        if kind.startswith("deployment")
        else shop.get(*kind.split("/"))["metadata"]["resourceVersion"]
        for kind in kinds
    }


def reconciled(release: Release) -> bool:
    """Whether the running operator has reconciled since it started."""
    address = release.operator_pod()["status"]["podIP"]
    metrics = fetch(f"http://{address}:8080/metrics")
    return any(
        line.startswith("consul_nginx_reconciles_total") and 'flow="report"' in line
        for line in metrics.splitlines()
    )


def wait_for_new_operator(release: Release, old: str) -> None:
    def ready() -> bool:
        try:
            pod = release.operator_pod()
        except ValueError:
            return False
        statuses = pod["status"].get("containerStatuses") or [{}]
        return bool(pod["metadata"]["name"] != old and statuses[0].get("ready"))

    wait_for(ready, what="a new operator is ready", seconds=90)
    wait_for(lambda: reconciled(release), what="the new operator has reconciled")


def test_a_killed_operator_costs_no_reload_and_no_condition_moves(
    cluster: Cluster, release: Release, shop: Shop
):
    reloads, times, versions = shop.reloads(), transition_times(shop), data_plane_versions(shop)
    old = release.operator_pod()["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, old, "--grace-period=0", "--force")
        wait_for_new_operator(release, old)
    assert shop.reloads() == reloads
    assert transition_times(shop) == times
    assert data_plane_versions(shop) == versions
    assert not sent.failures, sent.explain()


def test_a_new_version_of_the_operator_costs_no_reload(release: Release, shop: Shop):
    reloads = shop.reloads()
    old = release.operator_pod()["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        release.install(**{"podAnnotations.version": "next"})
        wait_for_new_operator(release, old)
    assert shop.reloads() == reloads
    assert not sent.failures, sent.explain()


def test_what_changed_while_no_operator_ran_is_caught_up(
    cluster: Cluster, release: Release, shop: Shop
):
    scale = ("scale", "-n", NAMESPACE, "deployment/consul-nginx-operator")
    cluster.kubectl(*scale, "--replicas=0")
    try:
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.registration.deregister(shop.registration.service_id(victim))
    finally:
        cluster.kubectl(*scale, "--replicas=1")
    shop.wait_backends(2)
    shop.registration.sync()
    shop.wait_backends(3)
