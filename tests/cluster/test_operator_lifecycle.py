"""The operator is killed, replaced, uninstalled: nginx does not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.support.release import NAMESPACE
from cluster.support.shop import HOST
from cluster.support.traffic import traffic

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


def test_a_killed_operator_costs_no_reload_and_no_condition_moves(
    cluster: Cluster, release: Release, shop: Shop
):
    reloads, times, versions = shop.reloads(), transition_times(shop), data_plane_versions(shop)
    old = release.operator_pod()["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, old, "--grace-period=0", "--force")
        release.wait_for_another_operator(old)
    assert shop.reloads() == reloads
    assert transition_times(shop) == times
    assert data_plane_versions(shop) == versions
    assert not sent.failures, sent.explain()


def test_an_upgrade_that_replaces_the_operator_costs_no_reload(release: Release, shop: Shop):
    reloads = shop.reloads()
    old = release.operator_pod()["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        release.install(**{"podAnnotations.version": "next"})
        release.wait_for_another_operator(old)
    assert shop.reloads() == reloads
    assert not sent.failures, sent.explain()


def test_what_changed_while_no_operator_ran_is_caught_up(
    cluster: Cluster, release: Release, shop: Shop
):
    scale = ("scale", "-n", NAMESPACE, "deployment/consul-nginx-operator")
    pods = [f"pod/{pod['metadata']['name']}" for pod in release.operator_pods()]
    cluster.kubectl(*scale, "--replicas=0")
    cluster.kubectl("wait", "-n", NAMESPACE, *pods, "--for=delete", "--timeout=60s")
    try:
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        assert len(shop.backends()) == 3
    finally:
        cluster.kubectl(*scale, "--replicas=2")
    shop.wait_backends(2)
    shop.bring_back()
    shop.wait_backends(3)


def test_with_namespaces_one_that_does_not_exist_blinds_nobody(
    cluster: Cluster, release: Release, shop: Shop
):
    """A namespace of the list was deleted, and with it the operator's rights in it."""
    cluster.kubectl("create", "namespace", "blog")
    try:
        old = release.operator_pod()["metadata"]["name"]
        release.install(**{"namespaces[0]": "blog", "namespaces[1]": "shop"})
        release.wait_for_another_operator(old)
        cluster.kubectl("delete", "namespace", "blog", "--timeout=60s")
        old = release.operator_pod()["metadata"]["name"]
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, old, "--now")
        release.wait_for_another_operator(old)
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        shop.wait_backends(2)
        shop.bring_back()
        shop.wait_backends(3)
    finally:
        old = release.operator_pod()["metadata"]["name"]
        cluster.kubectl("create", "namespace", "blog")  # Helm removes the Role in it
        release.install()
        cluster.kubectl("delete", "namespace", "blog", "--wait=false")
        release.wait_for_another_operator(old)
