"""How soon Consul and nginx know pods that come and go, and what going costs without preStop.

PYTHONPATH=tests .venv/bin/python -m bench.pods     needs the cluster of `make cluster`

Pods of the shop are replaced while clients send: one after the other, and in rolling restarts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager

from bench.figures import distribution
from cluster.harness.cluster import Cluster
from cluster.harness.report import HarnessError, heading, line
from cluster.support.clients import Sent, clients
from cluster.support.pod_times import PodTimes, pod_times
from cluster.support.release import Release
from cluster.support.shop import APP, INSTANCES, NAMESPACE, TEST_SERVER, Shop
from cluster.support.waiting import wait_for

ONE_BY_ONE = 54
ROUNDS = 4
CHECK_EVERY_S = 1
APPS = (APP, TEST_SERVER)


def main() -> int:
    """Print the figures of docs/measurements.md."""
    try:
        cluster = Cluster.load()
        Release(cluster=cluster).install()
        shop = Shop(cluster, check_every_s=CHECK_EVERY_S)
        shop.apply()
        heading(f"{ONE_BY_ONE} pods, one after the other, checks every {CHECK_EVERY_S} s")
        show(*replace_one_by_one(shop))
        heading(f"{ROUNDS} rolling restarts of 9 pods")
        show(*restart(shop))
        try:
            for app in APPS:
                path = "/spec/template/spec/containers/0/lifecycle"
                patch = json.dumps([{"op": "remove", "path": path}])
                words = ("patch", "-n", NAMESPACE, f"deployment/{app}", "--type=json", "-p", patch)
                cluster.kubectl(*words)
            wait_rolled_out(shop)
            heading(f"{ROUNDS} rolling restarts of 9 pods without preStop")
            show(*restart(shop))
        finally:
            shop.apply()
    except (AssertionError, HarnessError, OSError) as error:
        print(f"\nThe bench stopped: {error}", file=sys.stderr)
        return 1
    return 0


def watching(shop: Shop) -> AbstractContextManager[PodTimes]:
    """Times of the shop's pods."""
    return pod_times(
        cluster=shop.cluster, namespace=NAMESPACE, apps=APPS, services=tuple(INSTANCES)
    )


def replace_one_by_one(shop: Shop) -> tuple[PodTimes, Sent]:
    """Delete a pod, wait until what replaces it passes, and so on, of all applications in turns."""
    instances = 0
    with clients(shop) as sent, watching(shop) as times:
        for number in range(ONE_BY_ONE):
            app = APPS[number % len(APPS)]
            pod = min(shop.app_pods(app), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
            name = pod["metadata"]["name"]
            shop.cluster.kubectl("delete", "pod", "-n", NAMESPACE, name, "--wait=false")
            instances += 1 if app == APP else 2
            wait_for_instances(times, instances)
    return times, sent


def restart(shop: Shop) -> tuple[PodTimes, Sent]:
    """Replace all nine pods, as a new version would, again and again."""
    with clients(shop) as sent, watching(shop) as times:
        for number in range(1, ROUNDS + 1):
            for app in APPS:
                shop.cluster.kubectl("rollout", "restart", "-n", NAMESPACE, f"deployment/{app}")
            wait_rolled_out(shop)
            wait_for_instances(times, number * sum(INSTANCES.values()))
            shop.wait_all_backends()
    return times, sent


def wait_for_instances(times: PodTimes, count: int) -> None:
    """Wait until so many have come and so many have gone."""
    wait_for(
        lambda: len(times.passing) == len(times.gone) == count,
        what="Consul has the new instances, and none of the old",
    )


def wait_rolled_out(shop: Shop) -> None:
    """Wait until the newest pods are the only ones."""
    for app in APPS:
        words = ("rollout", "status", "-n", NAMESPACE, f"deployment/{app}", "--timeout=120s")
        shop.cluster.kubectl(*words)


def show(times: PodTimes, sent: Sent) -> None:
    """Times in milliseconds, and failures."""
    show_times("Ready to registered", times.to_registered())
    show_times("Ready to passing", times.to_passing())
    show_times("leaving to gone from Consul", times.to_gone_from_consul())
    show_times("to the last HTTP request", times.to_last_answer(sent.features))
    show_times("to the last TCP connection", times.to_last_answer(sent.thrift))
    for name, found in (("orders", sent.orders), ("features", sent.features), ("tcp", sent.thrift)):
        line(name, found.explain())


def show_times(name: str, seconds: Iterable[float]) -> None:
    """One line."""
    found = distribution(seconds)
    if found is not None:
        figures = f"p50 {found.p50:.0f}, p99 {found.p99:.0f}, most {found.max:.0f} ms"
        line(name, f"{figures} ({found.count})")


if __name__ == "__main__":
    sys.exit(main())
