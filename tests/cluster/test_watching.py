"""The operator process survives what ends kopf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.support.release import CRDS, NAMESPACE
from cluster.support.shop import fetch
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


def test_kinds_deleted_and_created_again_and_again_never_restart_the_operator(
    cluster: Cluster, release: Release, installed_shop: Shop
):
    """A watch that answers 404 ends kopf (1.45.2)."""
    before = release.operator_pod()
    for _ in range(3):
        cluster.kubectl("delete", "-f", str(CRDS), "--timeout=60s")
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        cluster.kubectl("wait", "-f", str(CRDS), "--for=condition=Established", "--timeout=30s")
        installed_shop.apply()
    after = release.operator_pod()
    assert after["metadata"]["name"] == before["metadata"]["name"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_an_operator_that_starts_before_its_kinds_works_once_they_are_there(
    cluster: Cluster, release: Release, installed_shop: Shop
):
    old = {pod["metadata"]["name"] for pod in release.operator_pods()}
    cluster.kubectl("delete", "-f", str(CRDS), "--timeout=60s")
    cluster.kubectl("delete", "pod", "-n", NAMESPACE, *old, "--now")

    def alive(pod: dict[str, Any]) -> bool:
        try:
            return fetch(f"http://{pod['status']['podIP']}:8080/healthz") == "ok\n"
        except (KeyError, OSError):
            return False

    def all_alive() -> bool:
        pods = release.operator_pods()
        new = {pod["metadata"]["name"] for pod in pods}
        return len(pods) == 2 and not new & old and all(map(alive, pods))

    wait_for(all_alive, what="the new operators are alive without their kinds")
    release.install()
    installed_shop.apply()
