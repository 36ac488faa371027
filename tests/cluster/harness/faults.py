"""Real failures for tests: a node loses power or its cable, or only its kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.harness import cgroups, network, node, processes

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


def power_on(cluster: Cluster, each: Node) -> None:
    """Start a node again, and wait until it is Ready."""
    cluster.start_nodes()
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
