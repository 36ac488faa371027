"""Two operators: one leads, and whatever happens to it, no write of another takes effect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from cluster.support.machine import process_of
from cluster.support.release import NAMESPACE
from cluster.support.shop import HOST, fetch
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


def metrics(pod: dict[str, Any]) -> str:
    return fetch(f"http://{pod['status']['podIP']}:8080/metrics")


def test_of_two_operators_one_leads_and_the_other_knows_as_much(release: Release, shop: Shop):
    leader = release.operator_pod()
    name = leader["metadata"]["name"]
    [standby] = [pod for pod in release.operator_pods() if pod["metadata"]["name"] != name]
    assert 'leader_election_master_status{name="consul-nginx-operator"} 1.0' in metrics(leader)
    said = metrics(standby)
    assert 'leader_election_master_status{name="consul-nginx-operator"} 0.0' in said
    assert "consul_nginx_consul_watches 3.0" in said
    assert "consul_nginx_configmap_writes_total 0.0" in said


def test_a_leader_that_stops_hands_over_at_once(cluster: Cluster, release: Release, shop: Shop):
    reloads = shop.reloads()
    old = release.operator_pod()["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, old)
        assert release.operator_pod()["metadata"]["name"] != old
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        shop.wait_backends(2)
    assert not sent.failures, sent.explain()
    assert all(count - reloads[pod] == 1 for pod, count in shop.reloads().items())


def operator_pid(pod: dict[str, Any]) -> int:
    return process_of(pod, "consul_nginx.cli")


def test_a_leader_that_slept_wakes_up_to_no_effect(cluster: Cluster, release: Release, shop: Shop):
    """Frozen in mid-work, as a node without memory or a paused machine freezes it."""
    sleeper = release.operator_pod()
    pid = operator_pid(sleeper)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(
            lambda: release.holder() not in ("", sleeper["metadata"]["name"]),
            what="the other operator leads",
        )
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        shop.wait_backends(2)
        written = shop.get("configmap", "edge-config")["metadata"]["resourceVersion"]
    finally:
        os.kill(pid, signal.SIGCONT)
    shop.bring_back()
    shop.wait_backends(3)
    revisions = shop.get("configmap", "edge-config")
    assert revisions["metadata"]["resourceVersion"] != written
    assert release.holder() != sleeper["metadata"]["name"]


async def _stale_write(kubeconfig: str, stale: dict[str, Any]) -> list[str]:
    """Write with everything forced: a client without any guard, and what it read long ago."""
    from kubernetes.aio import config
    from kubernetes.aio.client import ApiClient, Configuration

    from consul_nginx.kube.client import CONFIG_MAP, DEPLOYMENT, KubeClient
    from consul_nginx.kube.errors import KubeConflict

    settings = Configuration()
    await config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
    settings.disable_strict_ssl_verification = True
    refused = []
    async with ApiClient(configuration=settings) as api:
        kube = KubeClient(api=api)
        writes = {
            "configmap": kube.write(CONFIG_MAP, stale["configmap"]),
            "deployment": kube.apply(DEPLOYMENT, stale["deployment"]),
        }
        for name, write in writes.items():
            try:
                await write
            except KubeConflict:
                refused.append(name)
    return refused


def stripped(raw: dict[str, Any]) -> dict[str, Any]:
    """An object as it would be written: what the server adds is left out."""
    kept = ("name", "namespace", "labels", "ownerReferences", "resourceVersion")
    metadata = {key: raw["metadata"][key] for key in kept if key in raw["metadata"]}
    return {key: raw[key] for key in ("apiVersion", "kind", "data", "spec") if key in raw} | {
        "metadata": metadata
    }


def test_with_both_forced_to_lead_no_write_of_the_stale_one_takes_effect(
    cluster: Cluster, release: Release, shop: Shop
):
    """Every write names the version that it replaces: who did not see the latest is refused."""
    stale = {
        "configmap": stripped(shop.get("configmap", "edge-config")),
        "deployment": stripped(shop.get("deployment", "edge")),
    }
    stale["deployment"]["spec"]["replicas"] = 5
    cluster.kubectl("scale", "-n", "shop", "nlb/edge", "--replicas=1")
    try:
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        shop.wait_backends(2)
        wait_for(
            lambda: shop.get("deployment", "edge")["spec"]["replicas"] == 1, what="it is scaled"
        )
        now = shop.get("configmap", "edge-config")["data"]
        refused = asyncio.run(_stale_write(str(cluster.settings.kubeconfig), stale))
        assert refused == ["configmap", "deployment"]
        assert shop.get("configmap", "edge-config")["data"] == now
        assert shop.get("deployment", "edge")["spec"]["replicas"] == 1
    finally:
        cluster.kubectl("scale", "-n", "shop", "nlb/edge", "--replicas=2")
    cluster.kubectl("rollout", "status", "-n", "shop", "deployment/edge", "--timeout=60s")


def test_people_hear_of_it_in_events(cluster: Cluster, shop: Shop):
    patch = json.dumps({"spec": {"listener": "htp"}})
    cluster.kubectl("patch", "-n", "shop", "smap/features", "--type=merge", "-p", patch)
    try:
        wait_for(
            lambda: (
                "NoMatchingListener"
                in cluster.kubectl("describe", "-n", "shop", "smap/features").partition("Events:")[
                    2
                ]
            ),
            what="kubectl describe shows the Event",
        )
    finally:
        patch = json.dumps({"spec": {"listener": "http"}})
        cluster.kubectl("patch", "-n", "shop", "smap/features", "--type=merge", "-p", patch)
    shop.wait_ready()


def test_a_leader_that_is_killed_is_followed_by_another_or_by_itself(release: Release, shop: Shop):
    os.kill(operator_pid(release.operator_pod()), signal.SIGKILL)
    victim = shop.app_pods()[0]["metadata"]["name"]
    shop.take_out(victim)
    shop.wait_backends(2)
