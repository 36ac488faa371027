"""Real failures for tests: a node loses power or its cable, or only its kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.harness import cgroups, network, node, processes
from cluster.harness.commands import wait_until

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.harness.node import Node


def power_off(each: Node) -> None:
    """Kill all of a node at once: kubelet, containerd, pods, kube-proxy, its network."""
    group = each.instance.cgroup
    daemons = [each.daemon(name) for name in ("kubelet", "kube-proxy", "containerd")]
    for name in (*daemons, each.name):
        cgroups.kill(f"{group}/daemons/{name}")
    cgroups.kill(each.pods_cgroup)
    # As after a boot; a kubelet asks containerd about what is left here, for seconds each.
    cgroups.remove(each.pods_cgroup)


def power_on(cluster: Cluster, each: Node) -> None:
    """Start a node again, and wait until its new kubelet says that it is Ready."""
    before = _heartbeat(cluster, each)
    cluster.start_nodes()
    # Until then the API server still tells what the old kubelet said last.
    wait_until(
        lambda: _heartbeat(cluster, each) != before,
        what=f"first heartbeat of {each.name}",
        seconds=60,
        log=cluster.settings.logs / f"{each.daemon('kubelet')}.log",
    )
    node.wait_ready(cluster.settings, cluster.kubectl, [each])


def cut_cable(each: Node) -> None:
    """Take a node's network away; everything on it goes on running."""
    network.set_link(each.veth, up=False)


def mend_cable(each: Node) -> None:
    """Give a node its network back."""
    network.set_link(each.veth, up=True)


def kill_kubelet(each: Node) -> None:
    """Kill a node's kubelet alone; `power_on` starts it again."""
    processes.stop(each.instance, each.daemon("kubelet"), seconds=0)


def _heartbeat(cluster: Cluster, each: Node) -> str:
    query = ("get", "lease", each.name, "-n", "kube-node-lease")
    return cluster.kubectl(*query, "--output=jsonpath={.spec.renewTime}", check=False)
