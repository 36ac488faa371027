"""The demo from its first line to its last.

python -m cluster.demo        needs the cluster of `make cluster`
"""

from __future__ import annotations

import sys
import time

from cluster.demo import back_end, consul_changes, figures, mistakes, registrations, screen
from cluster.harness.cluster import Cluster
from cluster.harness.report import HarnessError, heading, line
from cluster.support.release import Release
from cluster.support.shop import HOST, LOAD_BALANCER, NAMESPACE, Shop
from cluster.support.waiting import wait_for


def main() -> int:
    """Run the demo; 0 when everything was seen as it should be."""
    begun = time.monotonic()
    try:
        cluster = Cluster.load()
        release, shop = Release(cluster=cluster), Shop(cluster)
        install(release, shop)
        registrations.show_registrations(shop)
        consul_changes.show_rotation(shop)
        failures = consul_changes.show_stop_and_start(shop)
        failures += consul_changes.show_sick_and_well(shop)
        failures += consul_changes.show_a_hang(shop)
        back_end.show_test_server(shop)
        registrations.show_discovery(shop)
        failures += registrations.show_a_bad_annotation(shop)
        failures += mistakes.show_a_mistake(shop, release)
        failures += mistakes.show_hand_edits(shop)
        figures.show_metrics(shop, release)
    except (AssertionError, EOFError, HarnessError, OSError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    what_next(cluster, shop)
    line("the demo took", f"{time.monotonic() - begun:.0f} s")
    return 1 if failures else 0


def install(release: Release, shop: Shop) -> None:
    """The operator by Helm, the applications and their LoadBalancer by kubectl."""
    heading("\nInstall")
    screen.timed("operator", "helm install consul-nginx-operator", release.install)
    screen.timed("applications", "kubectl apply -f examples/", shop.apply)
    wait_for(
        lambda: shop.get("nlb", LOAD_BALANCER)["status"]["dataPlane"]["summary"] == "2/2",
        what="both nginx pods serve the newest revision",
    )
    print()
    screen.kubectl(shop.cluster, "get", "nlb", "-n", NAMESPACE)
    screen.kubectl(shop.cluster, "get", "smap", "-n", NAMESPACE)
    print()


def what_next(cluster: Cluster, shop: Shop) -> None:
    """What to try now, and how to stop."""
    env = cluster.settings.cluster_dir / "env"
    heading("\nThe cluster stays up. Try:")
    for command, why in (
        (f"source {env}", "kubectl, helm and consul for this cluster"),
        (f"kubectl get consul-nginx -n {NAMESPACE} -w", "what nginx serves, live"),
        (f"kubectl describe smap features -n {NAMESPACE}", "why, in words"),
        (f"curl -H 'Host: {HOST}' http://{shop.address}/orders", "through nginx, both layers"),
        (f"nc {shop.thrift_address.replace(':', ' ')}", "a TCP session: a line in, a line out"),
        (f"kubectl logs -n {NAMESPACE} deploy/edge -c nginx", "the access log"),
        (f"{cluster.consul_address}/ui/", "Consul's own view"),
        ("make cluster-down", "stop everything, leave nothing"),
    ):
        print(f"  {command:<66} {why}")
    print()


if __name__ == "__main__":
    sys.exit(main())
