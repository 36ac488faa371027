"""The nginx pods come and go without being missed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from cluster.harness.report import HarnessError
from cluster.support.shop import HOST
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop


def test_a_deleted_nginx_pod_ends_before_its_grace_period(cluster: Cluster, shop: Shop):
    """Its agent must stop by the image's STOPSIGNAL, which is SIGQUIT for nginx' sake.

    nginx may take its time until ``shutdownTimeout``: a datagram's session, which another test may
    have begun, lasts for a minute.
    """
    pod = shop.nginx_pods()[0]
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    begun = time.monotonic()
    with traffic(address=shop.address, host=HOST, rate=100) as sent:
        cluster.kubectl("delete", "pod", "-n", "shop", pod["metadata"]["name"])
        took = time.monotonic() - begun
        cluster.kubectl("rollout", "status", "-n", "shop", "deployment/edge", "--timeout=60s")
    assert took < grace
    assert not sent.failures, sent.explain()


def test_a_killed_nginx_master_is_replaced(cluster: Cluster, shop: Shop):
    pod = shop.nginx_pods()[0]["metadata"]["name"]
    before = shop.reloads()[pod]
    kill = "import os, signal; os.kill(int(open('/run/consul-nginx/nginx/nginx.pid').read()), 9)"
    cluster.kubectl(
        "exec", "-n", "shop", pod, "-c", "nginx", "--",
        "/opt/consul-nginx/bin/python", "-c", kill,
    )  # fmt: skip
    wait_for(lambda: shop.reloads()[pod] > before, what="nginx was started again")
    shop.wait_backends(3)
    shop.wait_ready()


def test_a_nginx_container_that_restarts_alone_serves_again(cluster: Cluster, shop: Shop):
    pod = shop.nginx_pods()[0]["metadata"]["name"]
    cluster.kubectl(
        "exec", "-n", "shop", pod, "-c", "nginx", "--",
        "/opt/consul-nginx/bin/python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)",
    )  # fmt: skip

    def restarted() -> bool:
        [found] = [p for p in shop.nginx_pods() if p["metadata"]["name"] == pod]
        [nginx] = [c for c in found["status"]["containerStatuses"] if c["name"] == "nginx"]
        return bool(nginx["restartCount"] == 1 and nginx["ready"])

    wait_for(restarted, what="the container was restarted and is ready")
    shop.wait_backends(3)


def test_scaling_up_and_down_costs_no_request(cluster: Cluster, shop: Shop):
    def scale(count: int) -> None:
        cluster.kubectl("scale", "-n", "shop", "nlb/edge", f"--replicas={count}")
        wait_for(
            lambda: shop.get("nlb", "edge")["status"]["dataPlane"]["summary"] == f"{count}/{count}",
            what=f"{count} pods are up to date",
        )

    with traffic(address=shop.address, host=HOST) as sent:
        try:
            scale(4)
            assert len(shop.nginx_pods()) == 4
        finally:
            scale(2)
        wait_for(lambda: len(shop.nginx_pods()) == 2, what="two pods are left")
    assert not sent.failures, sent.explain()
    assert sent.requests > 200


def test_draining_takes_one_pod_at_a_time(cluster: Cluster, shop: Shop):
    def evict(pod: str) -> str:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "shop"},
        }
        path = f"/api/v1/namespaces/shop/pods/{pod}/eviction"
        return cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))

    first, second = (pod["metadata"]["name"] for pod in shop.nginx_pods())
    evict(first)
    with pytest.raises(HarnessError, match="disruption budget"):
        evict(second)
    cluster.kubectl("rollout", "status", "-n", "shop", "deployment/edge", "--timeout=60s")
